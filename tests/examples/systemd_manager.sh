#!/usr/bin/env bash
# Runs two workers of a unit under a real systemd, which has the process numbers, the mounts, /run and a control group of
# its own, so that nothing of it is left when it ends. Needs root.
# Usage: systemd_manager.sh PLACE COMMAND...
# PLACE/systemd/user/ holds the unit. The command runs while the workers do, with the process number of the first one.
# The exit code is 77 where no systemd can be run.
set -euo pipefail

place=$1
shift

if [[ -z ${INSIDE:-} ]]; then
    groups=()
    for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [[ -f $hierarchy/cgroup.procs ]] && groups+=("$hierarchy/eventlog-test-$$")
    done
    if ((${#groups[@]} == 0)) || ! mkdir "${groups[@]}"; then
        echo "no systemd can be run here: there are no control groups to write to"
        exit 77
    fi
    # shellcheck disable=SC2064 # the groups of now
    trap "find ${groups[*]} -depth -type d -exec rmdir {} ';'" EXIT
    # The shell that goes in is a child, so that this one can remove the groups.
    # shellcheck disable=SC2016 # expanded by the inner shell
    INSIDE=1 GROUPS_OF_TEST="${groups[*]}" bash -c '
        for group in $GROUPS_OF_TEST; do echo $$ >"$group/cgroup.procs"; done
        exec unshare --pid --fork --mount --mount-proc --cgroup --kill-child --propagation=private "$@"
    ' bash bash "$0" "$place" "$@"
    exit
fi

trap 'echo "no systemd can be run here: $BASH_COMMAND failed"; exit 77' ERR
for hierarchy in $GROUPS_OF_TEST; do # mounted again, they have the group of the test for their root
    mounted=$(dirname "$hierarchy")
    kind=$(stat --file-system --format=%T "$mounted")
    umount "$mounted"
    if [[ $kind == cgroup2fs ]]; then
        mount -t cgroup2 cgroup2 "$mounted"
    else
        mount -t cgroup -o none,name=systemd systemd "$mounted"
    fi
done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/systemd/inaccessible/dir /run/user/0
touch /run/systemd/inaccessible/{reg,sock} # what systemd puts over the places that it hides; the system's own makes them
mkfifo /run/systemd/inaccessible/fifo
mknod /run/systemd/inaccessible/chr c 0 0
mknod /run/systemd/inaccessible/blk b 0 0
chmod -R 0 /run/systemd/inaccessible

export XDG_RUNTIME_DIR=/run/user/0 XDG_CONFIG_HOME=$place XDG_STATE_HOME=$place HOME=$place
/lib/systemd/systemd --user --unit=basic.target >"$place/systemd.log" 2>&1 &
for _ in {1..100}; do
    systemctl --user is-active --quiet basic.target 2>/dev/null && break
    sleep 0.1
done
systemctl --user is-active --quiet basic.target
trap - ERR
systemctl --user start shop-billing@1 shop-billing@2
"$@" "$(systemctl --user show shop-billing@1 --property=MainPID --value)"
systemctl --user stop shop-billing@1 shop-billing@2
systemctl --user show shop-billing@1 shop-billing@2 --property=Result,ExecMainStatus,NRestarts,SubState
