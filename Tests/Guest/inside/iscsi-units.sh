# Linux's initiator with its daemon: a target with several units, and two initiators with a session each, of which one
# reserves a unit. $target, $port.
set -e
. /job/iscsi-daemon

# log_in INITIATOR: an initiator of its own name, with a session.
log_in() {
    iscsiadm -m iface -I "$1" -o new > /dev/null
    iscsiadm -m iface -I "$1" -o update -n iface.initiatorname -v "iqn.2026-11.org.example:$1" > /dev/null
    iscsiadm -m node -o new -T "$target" -p "10.0.2.2:$port" -I "$1" > /dev/null
    iscsiadm -m node -T "$target" -p "10.0.2.2:$port" -I "$1" --login > /dev/null
}
# session INITIATOR: its name in /sys.
session() {
    found=$(grep -l "^iqn.2026-11.org.example:$1\$" /sys/class/iscsi_session/*/initiatorname)
    found=${found%/initiatorname}
    echo "${found##*/}"
}
# disk INITIATOR LUN: the disk that it has there, if it has one.
disk() { ls /sys/class/iscsi_session/"$(session "$1")"/device/target*/*:"$2"/block 2> /dev/null | sed 's|^|/dev/|'; }
has_disk() { [ -b "$(disk "$1" "$2")" ]; }
has_disks() { has_disk "$1" 0 && has_disk "$1" 1 && has_disk "$1" 2; }

log_in alice
until_true has_disks alice
lsscsi > /results/lsscsi
for lun in 0 1 2; do
    unit=$(disk alice $lun)
    blockdev --getsize64 "$unit" > /results/size-$lun
    sg_inq "$unit" > /results/inquiry-$lun
done
log_in bob
until_true has_disks bob
alice=$(disk alice 1)
bob=$(disk bob 1)
echo "$bob" > /results/bob

# attempt NAME DISK WORD: writes the word; what came of it is in /results/NAME.
attempt() {
    printf '%-4095s\n' "$3" > /tmp/block
    dd if=/tmp/block of="$2" bs=4096 count=1 oflag=direct conv=notrunc 2> /tmp/error && echo written > "/results/$1" ||
        head -1 /tmp/error > "/results/$1"
}
# content DISK: the word that is there.
content() { dd if="$1" bs=4096 count=1 iflag=direct 2> /dev/null | sed 's/ *$//'; }
# The key that an initiator registers is its own; it is to be kept over a restart.
register() { sg_persist --out --register --param-aptpl --param-sark="$2" "$1" > /dev/null; }
reserved() { sg_persist --in --read-reservation "$1" > "/results/$2"; }

attempt before "$bob" nobody
register "$alice" 0xa11ce
register "$bob" 0xb0b
sg_persist --out --reserve --param-rk=0xa11ce --prout-type=1 "$alice" > /dev/null
reserved "$bob" reserved-by-alice
attempt alice-holds "$alice" alice
dmesg -c > /dev/null
attempt bob-is-kept-out "$bob" bob
dmesg > /results/kernel
content "$bob" > /results/bob-reads
attempt other-unit "$(disk bob 2)" bob

sg_persist --out --preempt --param-rk=0xb0b --param-sark=0xa11ce --prout-type=1 "$bob" > /dev/null
attempt bob-holds "$bob" bob
attempt alice-is-kept-out "$alice" alice
content "$alice" > /results/alice-reads

# The target is killed, and started again: both sessions come back. A kernel that has seen the loss does what is asked
# for when its session is there again.
echo "reserved"
lost() { dmesg | grep -q "connection$(session "$1" | sed 's/session//'):0: detected conn error"; }
until_true lost alice
until_true lost bob
content "$bob" > /dev/null
content "$alice" > /dev/null
reserved "$bob" reserved-after-restart
attempt alice-after-restart "$alice" alice
attempt bob-after-restart "$bob" again

sg_persist --out --release --param-rk=0xb0b --prout-type=1 "$bob" > /dev/null
reserved "$bob" released
attempt alice-after-release "$alice" alice
content "$bob" > /results/bob-reads-last
iscsiadm -m node -T "$target" --logout > /dev/null
