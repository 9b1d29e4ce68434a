#!/bin/bash
# What sshd runs for a stand-in, told from others by its port: the command, where the stand-in's own files are, and
# what it prints in the stand-in's name and addresses. /srv/stand-ins/mode says whether it does the `work`, does it and
# keeps the answer (`record`), or gives the kept answer as late as it came (`replay`); what was not kept is always work.
me=/srv/stand-ins/${SSH_CONNECTION##* }
read -r mode </srv/stand-ins/mode

work() {
  nsenter --mount --target="$(cat "$me/holder")" bash -c "$SSH_ORIGINAL_COMMAND" | sed -u -f "$me/translate"
  return "${PIPESTATUS[0]}"
}

if [ "$mode" != work ]; then
  sum=$(cksum <<<"$SSH_ORIGINAL_COMMAND")
  kept=$me/answers/${sum// /-}
fi
if [ "$mode" = replay ] && [ -f "$kept.code" ]; then
  read -r code seconds <"$kept.code"
  sleep "$seconds"
  sed "/^== time\$/{n;s/.*/$EPOCHSECONDS/}" "$kept"  # an old time would be refused
  exit "$code"
elif [ "$mode" = record ]; then
  begin=${EPOCHREALTIME/./}
  work | tee "$kept"  # at once: a lock says that it is held, and goes on
  code=${PIPESTATUS[0]}
  took=$((${EPOCHREALTIME/./} - begin))
  printf '%d %d.%06d\n' "$code" $((took / 1000000)) $((took % 1000000)) >"$kept.code"
  exit "$code"
fi
work
