# A disk whose commands QEMU hands on as they are (scsi-generic), and the tools that speak SCSI and ATA to it. Only sense
# data in fixed format come through: what needs the registers of ATA PASS-THROUGH is in iscsi.sh.
say() {
    name=$1
    shift
    "$@" > "/results/$name" 2>&1
    echo $? > "/results/$name.status"
}
say hdparm hdparm -I /dev/sda
say cache hdparm -W /dev/sda
say cache-off hdparm -W0 /dev/sda
say cache-is-off hdparm -W /dev/sda
say cache-on hdparm -W1 /dev/sda
hdparm --Istdout /dev/sda | sed 1,2d > /results/words
say smartctl smartctl -d sat -i -A -H /dev/sda
say inquiry sg_inq /dev/sda
say designators sg_vpd -p 0x83 /dev/sda
say limits sg_vpd -p bl /dev/sda
say opcodes sg_opcodes /dev/sda
say register sg_persist --out --register --param-sark=0x1234 /dev/sda
say reserve sg_persist --out --reserve --param-rk=0x1234 --prout-type=5 /dev/sda
say reservation sg_persist --in --read-reservation /dev/sda
say release sg_persist --out --release --param-rk=0x1234 --prout-type=5 /dev/sda
say satl bash /usr/bin/scsi_satl /dev/sda
say lsscsi lsscsi
say lshw lshw -quiet -class disk
