# Attaches one export after the other and notes what the block layer makes of each. $exports: NAME:PORT ...
set -e
. /job/network
for export in $exports; do
    name=${export%%:*}
    attach "${export##*:}" "$name"
    {
        echo "size $(cat /sys/block/nbd0/size)"
        for attribute in write_cache fua rotational logical_block_size physical_block_size discard_granularity \
            discard_max_bytes; do
            echo "$attribute $(cat /sys/block/nbd0/queue/$attribute)"
        done
        sed -n 's/^Hex: /flags /p' /sys/kernel/debug/nbd/nbd0/flags
    } > "$name"
    detach
done
