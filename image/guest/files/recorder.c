/* The record writer of the test guest: what it says is acknowledged must be on the disk, whatever happens afterwards.
 *
 * It waits for a data disk (also a hot-plugged one), then writes one record of 4 KiB every 20 ms, each past every cache
 * before the next, and says each second how far it got. A record has its place by its sequence number, in a ring as large as
 * the disk was at the first record. A later start goes on behind the newest record, so that a machine which was restarted
 * somewhere else destroys no evidence. records.py reads the disk; the layout is told there and here, and a test compares.
 *
 * A data disk is a virtio or SCSI disk without partitions (the boot disk has one) which is empty or holds records: anything
 * else is left alone, but for one that begins with TRIVPACE: how fast that is, is measured, and nothing is recorded on it. Standard output is the serial line. SIGTERM ends it between two records.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    RECORD_BYTES = 4096,
    PACE_MS = 20,
    LOOK_MS = 200,   /* for a disk: well below what a person calls a wait */
    AGAIN_MS = 1000, /* after a failed write: no flood of lines while a disk is gone */
    TELL_S = 1,
    PACE_BYTES = 1 << 20, /* at a time, as a program that copies does */
    PACE_ROUNDS = 7       /* their median counts */
};

struct record { /* little endian, as every machine we run on */
    char magic[8];
    uint64_t sequence;
    uint64_t slots;  /* records in the ring */
    uint64_t first;  /* the sequence with which this run began */
    uint8_t boot[16]; /* the kernel's boot id */
    uint32_t run;    /* how often this boot has begun to record, from 0 */
    uint32_t crc;    /* CRC-32 (that of zlib) of the record with this field zero */
    uint64_t filler[(RECORD_BYTES - 56) / 8]; /* the sequence, again and again: sectors of two records never fit together */
};
_Static_assert(sizeof(struct record) == RECORD_BYTES, "a record fills its slot");

static const char MAGIC[8] = "TRIVREC1";
static const char PACE[8] = "TRIVPACE";
static uint8_t piece[PACE_BYTES] __attribute__((aligned(RECORD_BYTES)));
static volatile sig_atomic_t stop;
static struct record buffer __attribute__((aligned(RECORD_BYTES))); /* O_DIRECT wants it aligned */
static uint32_t table[256];
static char boot_text[37];
static uint8_t boot[16];
static char refused[128]; /* names of the disks that were left alone: each is said once */

static void on_term(int number) { (void)number; stop = 1; }

static void rest(int ms) {
    struct timespec time = { ms / 1000, (ms % 1000) * 1000000L };
    nanosleep(&time, NULL);
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static uint32_t crc32(const void *data, size_t size) {
    uint32_t crc = 0xffffffff;
    for (const uint8_t *at = data; size--; at++)
        crc = table[(crc ^ *at) & 255] ^ crc >> 8;
    return ~crc;
}

static void prepare(void) {
    for (uint32_t number = 0; number < 256; number++) {
        uint32_t value = number;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? 0xedb88320 ^ value >> 1 : value >> 1;
        table[number] = value;
    }
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (!file || fscanf(file, "%36s", boot_text) != 1) {
        printf("TRIVET-GUEST recorder: no boot id\n");
        exit(1);
    }
    fclose(file);
    int digits = 0;
    for (const char *at = boot_text; *at; at++)
        if (*at != '-') {
            int value = *at <= '9' ? *at - '0' : *at - 'a' + 10;
            boot[digits / 2] |= value << (digits % 2 ? 0 : 4);
            digits++;
        }
}

/* Whether slot number `slot` holds a whole record of a ring of `slots`; it is in `buffer` then. -1: not readable. */
static int read_record(int disk, uint64_t slot, uint64_t slots) {
    if (pread(disk, &buffer, RECORD_BYTES, slot * RECORD_BYTES) != RECORD_BYTES)
        return -1;
    uint32_t crc = buffer.crc;
    buffer.crc = 0;
    return !memcmp(buffer.magic, MAGIC, 8) && crc == crc32(&buffer, RECORD_BYTES) && buffer.slots == slots &&
           buffer.sequence % slots == slot;
}

static int is_zero(void) {
    const uint8_t *bytes = (const uint8_t *)&buffer;
    return !bytes[0] && !memcmp(bytes, bytes + 1, RECORD_BYTES - 1);
}

/* Where to go on: behind the newest record, 0 on an empty disk, UINT64_MAX on one that is not ours or cannot be read.
 * Records are written in order, so the ones of the last lap are the first slots, and halving finds their end. A disk
 * that lost a record may send us back to that place: the records' `first` tells the reader then. */
static uint64_t next_sequence(int disk, uint64_t *slots) {
    if (pread(disk, &buffer, RECORD_BYTES, 0) != RECORD_BYTES)
        return UINT64_MAX;
    int ours = !memcmp(buffer.magic, MAGIC, 8);
    if (!ours && !is_zero())
        return UINT64_MAX;
    if (ours && buffer.slots && buffer.slots <= *slots)
        *slots = buffer.slots;
    int whole = read_record(disk, 0, *slots);
    if (whole < 0)
        return UINT64_MAX;
    if (!whole) /* empty, or the machine was stopped while it began a lap */
        return read_record(disk, *slots - 1, *slots) == 1 ? buffer.sequence + 1 : 0;
    uint64_t lap = buffer.sequence / *slots, low = 0, high = *slots; /* low is of this lap, high is not */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        int found = read_record(disk, middle, *slots);
        if (found < 0)
            return UINT64_MAX;
        if (found && buffer.sequence / *slots == lap)
            low = middle;
        else
            high = middle;
    }
    return lap * *slots + low + 1;
}

/* MiB/s of one pass over the disk behind its first piece, past every cache; negative: it failed. */
static double pace(int disk, uint64_t bytes, int is_write) {
    uint64_t done = 0;
    double begun_s = now_s();
    for (uint64_t at = PACE_BYTES; at + PACE_BYTES <= bytes; at += PACE_BYTES, done += PACE_BYTES) {
        ssize_t moved = is_write ? pwrite(disk, piece, PACE_BYTES, at) : pread(disk, piece, PACE_BYTES, at);
        if (moved != PACE_BYTES)
            return -1;
    }
    if (is_write && fdatasync(disk))
        return -1;
    return done / (double)(1 << 20) / (now_s() - begun_s);
}

/* A disk whose first block asks for it: the first round makes its file, and is not told. */
static void measure(int disk, const char *name, uint64_t bytes) {
    memset(piece, 0xa5, sizeof piece);
    for (int round = 0; round <= PACE_ROUNDS && !stop; round++) {
        double written = pace(disk, bytes, 1), read = pace(disk, bytes, 0);
        if (round)
            printf("TRIVET-GUEST pace %s write %.1f read %.1f MiB/s\n", name, written, read);
    }
    printf("TRIVET-GUEST pace %s over\n", name);
}

/* Open a data disk and name it, or -1. Of several the first by name, so that a test knows which. */
static int open_disk(char *name, uint64_t *slots, uint64_t *next) {
    struct dirent **entries;
    int count = scandir("/sys/block", &entries, NULL, alphasort), disk = -1;
    for (int pass = 0; pass < 2; pass++) /* virtio before SCSI */
        for (int at = 0; at < count && disk < 0; at++) {
            const char *found = entries[at]->d_name;
            char path[600];
            uint64_t size = 0;
            if (strncmp(found, pass ? "sd" : "vd", 2) || strlen(found) > 8)
                continue;
            snprintf(path, sizeof path, "/sys/block/%s/%s1", found, found);
            if (!access(path, F_OK))
                continue;
            snprintf(path, sizeof path, "/dev/%s", found);
            disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
            if (disk < 0)
                continue; /* read-only, or just gone */
            *slots = ioctl(disk, BLKGETSIZE64, &size) ? 0 : size / RECORD_BYTES;
            *next = *slots ? next_sequence(disk, slots) : UINT64_MAX;
            if (*next != UINT64_MAX) {
                strcpy(name, found);
                break;
            }
            if (size && !memcmp(buffer.magic, PACE, 8) && !strstr(refused, found))
                measure(disk, found, size);
            close(disk);
            disk = -1;
            if (!strstr(refused, found) && strlen(refused) + strlen(found) + 2 <= sizeof refused) {
                strcat(strcat(refused, found), " ");
                printf("TRIVET-GUEST left alone %s: not empty and no records, or not readable\n", found);
            }
        }
    if (count >= 0) {
        while (count > 0)
            free(entries[--count]);
        free(entries);
    }
    return disk;
}

/* One run: records from `next` on, until SIGTERM or until the disk fails. */
static void record(int disk, const char *name, uint64_t slots, uint64_t next, uint32_t run) {
    uint64_t first = next;
    double told_s = now_s();
    printf("TRIVET-GUEST recording %s boot %s run %u from %llu slots %llu\n", name, boot_text, run,
           (unsigned long long)first, (unsigned long long)slots);
    while (!stop) {
        memset(&buffer, 0, RECORD_BYTES);
        memcpy(buffer.magic, MAGIC, 8);
        memcpy(buffer.boot, boot, 16);
        buffer.sequence = next;
        buffer.slots = slots;
        buffer.first = first;
        buffer.run = run;
        for (size_t at = 0; at < sizeof buffer.filler / 8; at++)
            buffer.filler[at] = next;
        buffer.crc = crc32(&buffer, RECORD_BYTES);
        /* O_DIRECT passes the guest's cache, fdatasync the disk's: only then it is acknowledged. */
        if (pwrite(disk, &buffer, RECORD_BYTES, next % slots * RECORD_BYTES) != RECORD_BYTES || fdatasync(disk)) {
            printf("TRIVET-GUEST write failed %s sequence %llu: %s\n", name, (unsigned long long)next, strerror(errno));
            break;
        }
        next++;
        if (now_s() - told_s >= TELL_S) {
            printf("TRIVET-GUEST acknowledged %llu\n", (unsigned long long)(next - 1));
            told_s = now_s();
        }
        rest(PACE_MS);
    }
    if (next > first)
        printf("TRIVET-GUEST acknowledged %llu\n", (unsigned long long)(next - 1));
}

int main(void) {
    struct sigaction action = { .sa_handler = on_term };
    sigaction(SIGTERM, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 512); /* a line is one write: lines of others do not get between */
    prepare();
    for (uint32_t run = 0; !stop;) {
        char name[16];
        uint64_t slots = 0, next = 0;
        int disk = open_disk(name, &slots, &next);
        if (disk < 0) {
            rest(LOOK_MS);
            continue;
        }
        record(disk, name, slots, next, run++);
        close(disk);
        if (!stop)
            rest(AGAIN_MS);
    }
    return 0;
}
