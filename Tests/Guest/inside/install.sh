# Installs a system on the empty disk /dev/sda: a partition, a file system, the guest's own programs and modules, an
# initramfs and a boot loader. /dev/vda is an archive with the kernel and the files of inside/boot.
set -e
echo 'start=2048, type=83, bootable' | sfdisk --quiet /dev/sda
# extlinux reads no file system with features that are newer than itself.
mkfs.ext4 -q -L spindle -O ^64bit,^metadata_csum /dev/sda1
mount /dev/sda1 /mnt
tar -c -C / bin sbin lib lib64 usr etc | tar -x -C /mnt
mkdir /mnt/boot /mnt/dev /mnt/proc /mnt/sys /mnt/run /mnt/tmp /mnt/srv
tar -x -f /dev/vda -C /mnt/boot
mv /mnt/boot/start /mnt/srv/

# The initramfs is busybox and the modules for the disk: the BIOS reads it, and slowly.
mkdir -p /tmp/initrd/bin /tmp/initrd/proc /tmp/initrd/sys /tmp/initrd/dev /tmp/initrd/mnt
mv /mnt/boot/init /tmp/initrd/
cp /usr/bin/busybox /tmp/initrd/bin/
tar -c -C / --exclude '*/net/*' --exclude '*/xfs/*' lib/modules | tar -x -C /tmp/initrd
(cd /tmp/initrd && find . | cpio -o -H newc | gzip > /mnt/boot/initrd)

extlinux --install /mnt/boot
umount /mnt
fsck.ext4 -f -n /dev/sda1
dd if=/usr/share/boot/mbr.bin of=/dev/sda conv=notrunc,fsync
