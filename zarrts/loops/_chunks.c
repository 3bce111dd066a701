/* Reads chunks of a store: all that a thread does with several of them, in one go.

A chunk here is a frame of Blosc, or bytes that Blosc left as they are, and then its CRC-32C: what
zarrts writes by default. Between reading, checking and decoding, a thread would each time wait for
the interpreter's lock; here it gives it up once. Nothing here says what is wrong with a chunk: from
the first that is not exactly as expected on, they are left to the caller, who reads them one by one
(`storage/encoded.py`). */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* Where the system reads at a place of a file, and the processor has an instruction for CRC-32C:
   without it, checking takes as long as decoding. */
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__unix__) || defined(__APPLE__))
#if defined(__x86_64__)
#include <nmmintrin.h>
#define HAS_READS 1
#define CHECKED __attribute__((target("sse4.2")))
#define EIGHT_MORE(crc, bytes) _mm_crc32_u64(crc, bytes)
#define ONE_MORE(crc, byte) _mm_crc32_u8((uint32_t)(crc), byte)
#define CAN_READ (__builtin_cpu_init(), __builtin_cpu_supports("sse4.2") != 0)
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32) && !defined(__AARCH64EB__)
#include <arm_acle.h>
#define HAS_READS 1
#define CHECKED
#define EIGHT_MORE(crc, bytes) __crc32cd((uint32_t)(crc), bytes)
#define ONE_MORE(crc, byte) __crc32cb((uint32_t)(crc), byte)
#define CAN_READ 1
#endif
#endif

#ifdef HAS_READS

#include <errno.h>
#include <unistd.h>

enum { MOST_CHUNKS = 64, HEAD = 16, TAIL = 4, FLAGS_AT = 2, IS_COPIED = 2 };

/* The instruction gives a result each cycle, but three cycles later: so three parts of this many
   bytes are checked side by side. */
#define PART 4096

/* What each value of each byte of a checksum becomes when PART zeros follow. */
static uint32_t moved_of[4][256];

static CHECKED void fill_tables(void)
{
    uint32_t of_bit[32];
    for (int bit = 0; bit < 32; bit++) {
        uint64_t crc = (uint64_t)1 << bit;
        for (int i = 0; i < PART / 8; i++)
            crc = EIGHT_MORE(crc, 0);
        of_bit[bit] = (uint32_t)crc;
    }
    for (int byte = 0; byte < 4; byte++)
        for (int value = 0; value < 256; value++) {
            uint32_t moved = 0;
            for (int bit = 0; bit < 8; bit++)
                if (value >> bit & 1)
                    moved ^= of_bit[8 * byte + bit];
            moved_of[byte][value] = moved;
        }
}

static uint32_t moved(uint64_t crc)
{
    return moved_of[0][crc & 255] ^ moved_of[1][crc >> 8 & 255] ^ moved_of[2][crc >> 16 & 255] ^
           moved_of[3][crc >> 24 & 255];
}

static uint64_t eight_bytes(const unsigned char *p)
{
    uint64_t value;
    memcpy(&value, p, 8);
    return value;
}

/* The CRC-32C of n bytes, and of all that `previous` is of. */
static CHECKED uint32_t crc32c(uint32_t previous, const unsigned char *p, size_t n)
{
    uint64_t crc = previous ^ UINT32_MAX;
    for (; n >= 3 * PART; p += 3 * PART, n -= 3 * PART) {
        uint64_t second = 0, third = 0;
        for (int i = 0; i < PART; i += 8) {
            crc = EIGHT_MORE(crc, eight_bytes(p + i));
            second = EIGHT_MORE(second, eight_bytes(p + PART + i));
            third = EIGHT_MORE(third, eight_bytes(p + 2 * PART + i));
        }
        crc = moved(moved(crc) ^ second) ^ third;
    }
    for (; n >= 8; p += 8, n -= 8)
        crc = EIGHT_MORE(crc, eight_bytes(p));
    for (; n > 0; p++, n--)
        crc = ONE_MORE(crc, *p);
    return (uint32_t)crc ^ UINT32_MAX;
}

static uint32_t number(const unsigned char *four)
{
    return four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16 | (uint32_t)four[3] << 24;
}

/* `blosc_decompress_ctx` of C-Blosc 1: the bytes that it wrote, or less than 1 after an error. */
typedef int (*Decompress)(const void *source, void *out, size_t n_out, int n_threads);

typedef struct {
    int file;
    int64_t offset, size;
    int64_t written; /* its checksum as it was written, or -1 where that is not known */
    Py_buffer out;
} Chunk;

static int has_filled(int file, unsigned char *out, size_t n, int64_t offset)
{
    while (n > 0) {
        ssize_t count = pread(file, out, n, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return 0;
        out += count, offset += count, n -= (size_t)count;
    }
    return 1;
}

/* Blosc believes its header how long a frame is, and so that is compared before. */
static int is_of_size(const unsigned char *head, size_t n, size_t size)
{
    return number(head + 4) == n && number(head + 12) == size - TAIL;
}

static int is_checked(const Chunk *c, uint32_t found, const unsigned char *tail)
{
    return found == number(tail) && (c->written < 0 || c->written == (int64_t)found);
}

/* Whether a chunk was read and is what it should be; else its memory holds anything. */
static int was_read(Decompress decompress, const Chunk *c, unsigned char *scratch,
                    Py_ssize_t n_scratch)
{
    unsigned char *out = c->out.buf;
    size_t n = (size_t)c->out.len, size = (size_t)c->size;
    if (c->size < HEAD + TAIL || c->offset < 0 || n == 0 || n > INT_MAX)
        return 0;
    unsigned char head[HEAD], tail[TAIL];
    if (size == HEAD + n + TAIL && has_filled(c->file, head, HEAD, c->offset) &&
        head[FLAGS_AT] & IS_COPIED) /* no copy of it is needed */
        return is_of_size(head, n, size) && has_filled(c->file, out, n, c->offset + HEAD) &&
               has_filled(c->file, tail, TAIL, c->offset + HEAD + (int64_t)n) &&
               is_checked(c, crc32c(crc32c(0, head, HEAD), out, n), tail);
    return c->size <= n_scratch && has_filled(c->file, scratch, size, c->offset) &&
           is_of_size(scratch, n, size) &&
           is_checked(c, crc32c(0, scratch, size - TAIL), scratch + size - TAIL) &&
           decompress(scratch, out, n, 1) == (int)n;
}

/* read_chunks(decompress, scratch, chunks): how many of the first chunks were read.

decompress is the address of `blosc_decompress_ctx`, scratch holds the longest frame, and each chunk
is (file, offset, size, checksum as written or -1, out). */
PyObject *read_chunks(PyObject *self, PyObject *args)
{
    unsigned long long address;
    Py_buffer scratch;
    PyObject *wanted;
    Chunk chunks[MOST_CHUNKS];
    Py_ssize_t n = 0, n_read = 0;
    if (!PyArg_ParseTuple(args, "Kw*O!", &address, &scratch, &PyList_Type, &wanted))
        return NULL;
    Py_ssize_t n_wanted = PyList_Size(wanted) < MOST_CHUNKS ? PyList_Size(wanted) : MOST_CHUNKS;
    for (; n < n_wanted; n++) {
        Chunk *c = chunks + n;
        long long offset, size, written;
        if (!PyArg_ParseTuple(PyList_GetItem(wanted, n), "iLLLw*", &c->file, &offset, &size,
                              &written, &c->out))
            break;
        c->offset = offset, c->size = size, c->written = written;
    }
    if (n == n_wanted) {
        Py_BEGIN_ALLOW_THREADS
        while (n_read < n && was_read((Decompress)(uintptr_t)address, chunks + n_read, scratch.buf,
                                      scratch.len))
            n_read++;
        Py_END_ALLOW_THREADS
    }
    for (Py_ssize_t i = 0; i < n; i++)
        PyBuffer_Release(&chunks[i].out);
    PyBuffer_Release(&scratch);
    return n == n_wanted ? PyLong_FromSsize_t(n_read) : NULL;
}

int can_read_chunks(void)
{
    if (!CAN_READ)
        return 0;
    fill_tables();
    return 1;
}

#else

PyObject *read_chunks(PyObject *self, PyObject *args) { return PyLong_FromLong(0); }

int can_read_chunks(void) { return 0; }

#endif
