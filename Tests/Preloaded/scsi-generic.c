// Lets programs that speak SCSI to a device node of Linux (SG_IO) speak to an iSCSI target instead, with libiscsi and without a
// kernel in between. Preloaded into them; DISK_FILE is the file that they take for the node, DISK_URL the target's.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <linux/hdreg.h>
#include <scsi/sg.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static struct iscsi_context *iscsi;
static int lun;

// The session, which lasts as long as the program.
static int connected(void) {
    if (iscsi) return 1;
    iscsi = iscsi_create_context("iqn.2026-11.org.example:generic");
    struct iscsi_url *url = iscsi ? iscsi_parse_full_url(iscsi, getenv("DISK_URL")) : NULL;
    if (!url) return 0;
    iscsi_set_targetname(iscsi, url->target);
    iscsi_set_session_type(iscsi, ISCSI_SESSION_NORMAL);
    lun = url->lun;
    if (iscsi_full_connect_sync(iscsi, url->portal, lun) != 0) {
        fprintf(stderr, "scsi-generic: %s\n", iscsi_get_error(iscsi));
        iscsi = NULL;
    }
    iscsi_destroy_url(url);
    return iscsi != NULL;
}

static int is_disk(int descriptor) {
    struct stat file, disk;
    const char *path = getenv("DISK_FILE");
    return path && fstat(descriptor, &file) == 0 && stat(path, &disk) == 0 && file.st_dev == disk.st_dev
        && file.st_ino == disk.st_ino;
}

// One command, as the header of version 3 of the sg driver has it.
static int perform(struct sg_io_hdr *header) {
    if (!connected()) return errno = ENODEV, -1;
    int reads = header->dxfer_direction == SG_DXFER_FROM_DEV || header->dxfer_direction == SG_DXFER_TO_FROM_DEV;
    int writes = header->dxfer_direction == SG_DXFER_TO_DEV;
    struct scsi_task *task = scsi_create_task(
        header->cmd_len, header->cmdp, reads ? SCSI_XFER_READ : writes ? SCSI_XFER_WRITE : SCSI_XFER_NONE,
        reads || writes ? header->dxfer_len : 0);
    struct iscsi_data data = {.size = header->dxfer_len, .data = header->dxferp};
    if (!task || !iscsi_scsi_command_sync(iscsi, lun, task, writes ? &data : NULL)) return errno = EIO, -1;
    header->status = task->status & 0xFF;
    header->masked_status = header->status >> 1 & 0x1F;
    header->host_status = task->status > 0xFF ? 7 : 0;
    header->driver_status = 0;
    header->msg_status = 0;
    header->sb_len_wr = 0;
    header->duration = 0;
    header->resid = task->residual_status == SCSI_RESIDUAL_UNDERFLOW ? (int)task->residual : 0;
    if (task->status == SCSI_STATUS_CHECK_CONDITION) {
        // The length of the sense data comes first (RFC 7143 11.4.7.2).
        int count = task->datain.size > 2 ? task->datain.size - 2 : 0;
        if (count > header->mx_sb_len) count = header->mx_sb_len;
        if (header->sbp) memcpy(header->sbp, task->datain.data + 2, count);
        header->sb_len_wr = count;
        header->driver_status = 8;
    } else if (reads && task->datain.size > 0) {
        int count = task->datain.size;
        memcpy(header->dxferp, task->datain.data, count > (int)header->dxfer_len ? (int)header->dxfer_len : count);
    }
    header->info = header->status ? SG_INFO_CHECK : SG_INFO_OK;
    scsi_free_scsi_task(task);
    return 0;
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (is_disk(descriptor)) {
        if (request == SG_IO) return perform(argument);
        if (request == SG_GET_VERSION_NUM) return *(int *)argument = 30536, 0;
        // It begins where the disk does.
        if (request == HDIO_GETGEO) return *(struct hd_geometry *)argument = (struct hd_geometry){255, 63, 1, 0}, 0;
        errno = EINVAL;
        return -1;
    }
    int (*next)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
    return next(descriptor, request, argument);
}
