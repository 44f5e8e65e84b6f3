# Mounts what power cuts have left. $port; $exports: a line for each export with its name and the type of its file system. What is
# there goes to /results/NAME/root, and mount's complaint to /results/NAME/mount.
set -e
. /job/network
echo "$exports" | while read -r name type; do
    attach "$port" "$name" > /dev/null
    mkdir -p "/results/$name/root"
    if mount -t "$type" /dev/nbd0 /mnt 2> "/results/$name/mount"; then
        # A file that cannot be read is not there.
        cp -r /mnt/. "/results/$name/root" 2> "/results/$name/copy" || :
        umount /mnt
    fi
    detach > /dev/null
done
