# Workloads on file systems on /dev/nbd0, whose servers record them. $jobs has a line for each: the server's port, the file
# system's type, mount's options, a workload of those below, and a word for it. Where the
# options are 'write-through', the kernel takes the drive for one without a cache, and never asks it to flush.
# $uid: the user of databases.
set -e
. /job/network
# 64 KiB at the drive's end are no part of the file system. Sector N of them says that the client was told of the N-th
# thing that it is stable. Such a mark is in the recording, and does not ask for a flush.
MARKS=128
mark() {
    first=$(($(blockdev --getsz /dev/nbd0) - MARKS))
    echo "mark $1" | dd of=/dev/nbd0 bs=512 seek=$((first + $1)) oflag=direct conv=notrunc,sync 2> /dev/null
}

# content N: what the N-th file holds.
content() { yes "content of $1" | head -n 1000; }

# A dozen files, each made stable; the older ones go.
files() {
    for number in $(seq 12); do
        mkdir -p /mnt/folder$((number % 3))
        content "$number" | dd of=/mnt/folder$((number % 3))/file"$number" bs=16k conv=fsync 2> /dev/null
        mark "$number"
        [ "$number" -lt 7 ] || rm /mnt/folder$(((number - 6) % 3))/file$((number - 6))
    done
}

# A file is replaced by its next version, as most programs do it: without fsync. The other file's fsync(2) has the
# journal make the new name stable.
replace() {
    content 0 | dd of=/mnt/file bs=16k conv=fsync 2> /dev/null
    mark 0
    for number in $(seq 6); do
        content "$number" > /mnt/file.new
        mv /mnt/file.new /mnt/file
        echo "$number" | dd of=/mnt/other conv=fsync 2> /dev/null
    done
}

# sqlite PRAGMAS: transactions of 20 rows.
sqlite() {
    pragmas=$(echo "$1" | sed 's/[^,]*/PRAGMA &;/g; s/,//g')
    sqlite3 /mnt/database "$pragmas CREATE TABLE entry (number INTEGER, row INTEGER, content TEXT)" > /dev/null
    sync -f /mnt
    for number in $(seq 4); do
        sqlite3 /mnt/database "$pragmas
            WITH RECURSIVE rows(row) AS (VALUES (1) UNION ALL SELECT row + 1 FROM rows WHERE row < 20)
            INSERT INTO entry SELECT $number, row, hex(randomblob(60)) FROM rows" > /dev/null
        mark "$number"
    done
}

# postgresql SETTING: each transaction updates all rows, and a checkpoint follows.
postgresql() {
    programs=/usr/lib/postgresql/15/bin
    echo "postgres:x:$uid:$uid::/:/bin/sh" > /etc/passwd
    mkdir -p /dev/shm
    chmod 1777 /tmp
    mount -t tmpfs -o mode=1777 shm /dev/shm
    setpriv --reuid "$uid" --regid "$uid" --clear-groups $programs/postgres -D /mnt/data -k /tmp -h '' -c "$1" \
        > /tmp/postgresql.log 2>&1 &
    query() { $programs/psql -q -h /tmp -U postgres -d postgres -c "$1"; }
    tries=0
    until query 'SELECT 1' > /dev/null 2>&1; do
        tries=$((tries + 1))
        kill -0 $! 2> /dev/null && [ $tries -le 1200 ] || { cat /tmp/postgresql.log; return 1; }
        usleep 100000
    done
    for number in 1 2; do
        query "UPDATE entry SET number = $number"
        mark "$number"
        query CHECKPOINT
    done
    kill -INT $!
    wait $! || :
    umount /dev/shm
}

echo "$jobs" | while read -r port type options workload word; do
    attach "$port" power > /dev/null
    if [ "$options" = write-through ]; then
        echo 'write through' > /sys/block/nbd0/queue/write_cache
        options=defaults
    fi
    mount -t "$type" -o "$options" /dev/nbd0 /mnt
    $workload "$word"
    sync
    umount /mnt
    detach > /dev/null
    echo "recorded $port"
done
