#!/bin/bash
# On all hosts at once: all.sh up|down FOLDER. FOLDER holds `hosts` (lines "NAME ADDRESS ROLE"), `ssh` (a command
# that reaches root@ADDRESS) and for `up` a folder a host. The output of each host goes to FOLDER/NAME.log.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); step=$1 folder=$2
ssh=$(cat "$folder/ssh")
[ "$step" = down ] || {
  rm -rf "$folder/pki"; "$here/certificates.sh" "$folder/pki" $(awk '{print $1, $2}' "$folder/hosts")
}

one() { # NAME ADDRESS ROLE
  if [ "$step" = down ]; then
    $ssh root@"$2" "bash -s $3" < "$here/down.sh"
  else
    tar -cz -C "$folder/$1" . -C "$folder/pki" "$1" -C "$here" up.sh |
      $ssh root@"$2" "mkdir -p /root/by-hand && tar -xz -C /root/by-hand && bash /root/by-hand/up.sh $1 $2 $3 $nodes"
  fi > "$folder/$1.log" 2>&1 || { echo "$1 failed:"; tail -n 20 "$folder/$1.log"; return 1; } >&2
}

nodes=$(wc -l < "$folder/hosts")
while read -r name address role; do one "$name" "$address" "$role" & done < "$folder/hosts"
for job in $(jobs -p); do wait "$job"; done
