# The server runs on this kernel, and sends large READs straight from its page cache: what arrives is what is in the image,
# whatever file system it is on, over each kind of socket, and also when the client does not take it for a while.
set -e
ip link set lo up
mkfs.ext4 -q /dev/vda
mount -t ext4 /dev/vda /mnt

for folder in /tmp /mnt; do
    image=$folder/image
    dd if=/dev/urandom of=$image bs=1M count=24 2> /dev/null
    rm -f /tmp/said
    spindle serve --listen unix:/tmp/socket --listen tcp:127.0.0.1:10809 disk=$image > /tmp/said 2>&1 &
    server=$!
    until grep -qs '^serving' /tmp/said; do kill -0 $server; done
    for uri in 'nbd+unix:///disk?socket=/tmp/socket' nbd://127.0.0.1/disk; do
        rm -f /tmp/copy
        nbdcopy "$uri" /tmp/copy
        cmp $image /tmp/copy
        # A pipe that nobody reads: the client's requests are under way, and their replies fill the socket.
        nbdcopy "$uri" - | { usleep 300000; cat > /tmp/copy; }
        cmp $image /tmp/copy
        echo "$folder $uri" >> /results/copied
    done
    kill $server
    wait $server
    rm $image
done
umount /mnt
