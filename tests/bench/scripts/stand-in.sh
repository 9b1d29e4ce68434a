#!/bin/bash
# What sshd runs for a stand-in, told from others by its port: the command, where the stand-in's own files are, and
# what it prints in the stand-in's name and addresses.
me=/srv/stand-ins/${SSH_CONNECTION##* }
nsenter --mount --target="$(cat "$me/holder")" bash -c "$SSH_ORIGINAL_COMMAND" | sed -u -f "$me/translate"
exit "${PIPESTATUS[0]}"
