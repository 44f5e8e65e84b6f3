# git on ext4 on /dev/nbd0, and a drive whose power is cut by the host after each commit. $port, $name: the export;
# $options: of mount, $fsync: git's core.fsync, $rounds: how many cuts. What each repository is afterwards goes to
# /results/found: whole, damaged (objects are empty), or lost (the commit is not there).
set -e
. /job/network
export GIT_AUTHOR_NAME=guest GIT_AUTHOR_EMAIL=guest@example.org GIT_COMMITTER_NAME=guest
export GIT_COMMITTER_EMAIL=guest@example.org GIT_CONFIG_NOSYSTEM=1

repository() { git -C /mnt/repository "$@"; }

# Commits $1 of a new repository on a new file system.
commit() {
    mkfs.ext4 -q -F /dev/nbd0
    mount -t ext4 -o "$options" /dev/nbd0 /mnt
    git init -q -b main /mnt/repository
    [ "$fsync" = default ] || repository config core.fsync "$fsync"
    sync
    dd if=/dev/urandom of=/mnt/repository/file bs=10k count=2 2> /dev/null
    repository add file
    repository commit -q -m "commit $1"
    # ext4's journal commits each second, and a file's data follow half a minute later.
    sleep 3
}

find_out() {
    if [ -n "$(find /mnt/repository/.git/objects -type f -size 0)" ]; then
        echo damaged
    elif [ "$(repository log -1 --format=%s 2> /dev/null)" != "commit $1" ]; then
        echo lost
    elif repository fsck --strict > /dev/null 2>&1; then
        echo whole
    else
        echo damaged
    fi
}

number=1
while [ $number -le "$rounds" ]; do
    attach "$port" "$name"
    commit $number
    echo "committed $number"
    # The connection ends with the power.
    while dd if=/dev/nbd0 of=/dev/null bs=4096 count=1 iflag=direct 2> /dev/null; do usleep 20000; done
    # Requests that were under way wait for ever until somebody says that it is over, and the device waits for umount.
    nbd-client -d /dev/nbd0
    umount /mnt
    detach
    # The drive turns clients away until it has its power again.
    tries=0
    until attach "$port" "$name"; do
        tries=$((tries + 1))
        [ $tries -lt 100 ]
        usleep 100000
    done
    mount -t ext4 /dev/nbd0 /mnt
    find_out $number >> /results/found
    umount /mnt
    fsck.ext4 -f -n /dev/nbd0
    detach
    number=$((number + 1))
done
