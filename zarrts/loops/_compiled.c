/* The inner loops of zarrts, compiled.

Each function here has a twin in NumPy, in a module beside this file, which is its definition: both
give the same bits. So sums run over lanes in a fixed order, which no compiler
may change (no -ffast-math), and no multiplication is fused with an addition (-ffp-contract=off).

Callers hand over memory only: C-contiguous, aligned, in native byte order. Sizes, alignment and
indices are checked here once more, so that no call can read or write outside of it. Nothing is
allocated; the GIL is released while a loop runs.

ABI has to change whenever a signature or a result changes: an editable install keeps a library
that was built from an older source, and `library.py` compares the numbers. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define ABI 4

#if defined(_MSC_VER) && !defined(__clang__)
#define RESTRICT __restrict
#else
#define RESTRICT restrict
#endif

/* Three loops are built twice, for processors with AVX2 as well: each operation stays what it is, so
   the bits are the same. */
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define HAS_WIDE 1
#define WIDE __attribute__((target("avx2")))
#define CAN_BE_WIDE (__builtin_cpu_init(), __builtin_cpu_supports("avx2") != 0)
#else
#define HAS_WIDE 0
#define CAN_BE_WIDE 0
#endif
static int is_wide = 0;

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) ((void)(p))
#endif
#define CACHE_LINE 64

/* Number, name and C type of every dtype; `library.py` has the same list. */
#define EACH_INTEGER(X) \
    X(2, i1, int8_t) X(3, u1, uint8_t) X(4, i2, int16_t) X(5, u2, uint16_t) \
    X(6, i4, int32_t) X(7, u4, uint32_t) X(8, i8, int64_t) X(9, u8, uint64_t)
#define EACH_TYPE(X) X(0, f4, float) X(1, f8, double) EACH_INTEGER(X)

enum { F4, F8, I1, U1, I2, U2, I4, U4, I8, U8, N_TYPES };
static const Py_ssize_t SIZE_OF[N_TYPES] = {4, 8, 1, 1, 2, 2, 4, 4, 8, 8};

/* Accumulators of so many lanes stay in the first-level cache. */
#define LANES_AT_ONCE 512
/* Values that are packed before it is looked whether all of them fit. */
#define PACKED_AT_ONCE 8192
/* Items of a temporary copy on the stack. */
#define COPIED_AT_ONCE 512

/* ---- Memory that was handed over ---------------------------------------------------------- */

/* Whether a buffer holds n items of a size, aligned; n is negative where a product overflowed. */
static int holds(const Py_buffer *buffer, Py_ssize_t n, Py_ssize_t size)
{
    if (n < 0 || n > PY_SSIZE_T_MAX / size || buffer->len < n * size)
        return 0;
    return n == 0 || (uintptr_t)buffer->buf % (uintptr_t)size == 0;
}

static Py_ssize_t product(Py_ssize_t a, Py_ssize_t b)
{
    if (a < 0 || b < 0 || (a && b > PY_SSIZE_T_MAX / a))
        return -1;
    return a * b;
}

static int is_type(int code) { return code >= 0 && code < N_TYPES; }

static void release(Py_buffer *const *buffers, int n)
{
    for (int i = 0; i < n; i++)
        if (buffers[i]->obj != NULL)
            PyBuffer_Release(buffers[i]);
}

#define RELEASE(...) \
    do { \
        Py_buffer *const held[] = {__VA_ARGS__}; \
        release(held, (int)(sizeof(held) / sizeof(*held))); \
    } while (0)

static PyObject *wrong_memory(void)
{
    PyErr_SetString(PyExc_ValueError, "memory of another size, type or alignment than was said");
    return NULL;
}

/* ---- Sums over rows, a lane for each column ----------------------------------------------- */

/* What is summed, where. Lanes are handed over as parameters and not as a struct, because only
   there do compilers believe that they do not overlap. */
typedef void (*Sum)(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                    const double *RESTRICT base, const double *RESTRICT shift,
                    double *RESTRICT total, double *RESTRICT squares, double *RESTRICT count);
typedef void (*Range)(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                      void *RESTRICT low, void *RESTRICT high);
typedef void (*Plain)(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, Py_ssize_t width,
                      double *RESTRICT total, double *RESTRICT squares, void *RESTRICT low,
                      void *RESTRICT high);

/* Sums of values and of their squares, and the range, of four rows at a time. NaN spoil the sums,
   as the caller sees. SUM4 adds a to d, and their squares, to t and s. */
#define PLAIN(name, T, V, SUM4) \
    static void plain_##name(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, \
                             Py_ssize_t width, double *RESTRICT total, double *RESTRICT squares, \
                             void *RESTRICT lowest, void *RESTRICT highest) \
    { \
        const T *RESTRICT x = rows; \
        T *RESTRICT low = lowest, *RESTRICT high = highest; \
        Py_ssize_t i = 0; \
        for (; i + 4 <= n; i += 4, x += 4 * stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                T p = x[j], q = x[j + stride], r = x[j + 2 * stride], w = x[j + 3 * stride]; \
                V a = (V)p, b = (V)q, c = (V)r, d = (V)w; \
                double t = total[j], s = squares[j]; \
                SUM4 \
                total[j] = t; \
                squares[j] = s; \
                T least = p < q ? p : q, most = p > q ? p : q; \
                T less = r < w ? r : w, more = r > w ? r : w; \
                least = less < least ? less : least; \
                most = more > most ? more : most; \
                low[j] = least < low[j] ? least : low[j]; \
                high[j] = most > high[j] ? most : high[j]; \
            } \
        for (; i < n; i++, x += stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                double a = (double)x[j]; \
                total[j] += a; \
                squares[j] += a * a; \
                low[j] = x[j] < low[j] ? x[j] : low[j]; \
                high[j] = x[j] > high[j] ? x[j] : high[j]; \
            } \
    }
#define IN_ORDER \
    t = (((t + a) + b) + c) + d; \
    s = (((s + a * a) + b * b) + c * c) + d * d;
/* Doubles hold these integers exactly, so that their order is free: fewer conversions. */
#define OF_8_BITS \
    t += (double)(a + b + c + d); \
    s += (double)(a * a + b * b + c * c + d * d);
/* Two squares take 32 bits; moved by 2 ** 31 they convert as signed integers do. */
#define OF_16_BITS \
    int32_t u = (int32_t)((uint32_t)(a * a) + (uint32_t)(b * b) - 0x80000000u); \
    int32_t v = (int32_t)((uint32_t)(c * c) + (uint32_t)(d * d) - 0x80000000u); \
    t += (double)(a + b + c + d); \
    s += ((double)u + (double)v) + 4294967296.0;
PLAIN(f4, float, double, IN_ORDER)
PLAIN(f8, double, double, IN_ORDER)
PLAIN(i1, int8_t, int32_t, OF_8_BITS)
PLAIN(u1, uint8_t, int32_t, OF_8_BITS)
PLAIN(i2, int16_t, int32_t, OF_16_BITS)
PLAIN(u2, uint16_t, double, IN_ORDER)
PLAIN(i4, int32_t, double, IN_ORDER)
PLAIN(u4, uint32_t, double, IN_ORDER)
PLAIN(i8, int64_t, double, IN_ORDER)
PLAIN(u8, uint64_t, double, IN_ORDER)

/* Sums of deviations from `base`, and of these from `shift`, and of their squares. */
#define DEVIATIONS(code, name, T) \
    static void deviations_##name(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, \
                                  Py_ssize_t width, const double *RESTRICT base, \
                                  const double *RESTRICT shift, double *RESTRICT total, \
                                  double *RESTRICT squares, double *RESTRICT count) \
    { \
        const T *RESTRICT x = rows; \
        Py_ssize_t i = 0; \
        (void)count; \
        for (; i + 4 <= n; i += 4, x += 4 * stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                double a = ((double)x[j] - base[j]) - shift[j]; \
                double b = ((double)x[j + stride] - base[j]) - shift[j]; \
                double c = ((double)x[j + 2 * stride] - base[j]) - shift[j]; \
                double d = ((double)x[j + 3 * stride] - base[j]) - shift[j]; \
                total[j] = (((total[j] + a) + b) + c) + d; \
                squares[j] = (((squares[j] + a * a) + b * b) + c * c) + d * d; \
            } \
        for (; i < n; i++, x += stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                double a = ((double)x[j] - base[j]) - shift[j]; \
                total[j] += a; \
                squares[j] += a * a; \
            } \
    }
EACH_TYPE(DEVIATIONS)

/* The same of numbers, which are counted; NaN are left out. */
#define NUMBERS(code, name, T) \
    static void numbers_##name(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, \
                               Py_ssize_t width, const double *RESTRICT base, \
                               const double *RESTRICT shift, double *RESTRICT total, \
                               double *RESTRICT squares, double *RESTRICT count) \
    { \
        const T *RESTRICT x = rows; \
        (void)shift; \
        for (Py_ssize_t i = 0; i < n; i++, x += stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                double v = (double)x[j], d = v - base[j]; \
                double a = v == v ? d : 0.0, one = v == v ? 1.0 : 0.0; \
                total[j] += a; \
                squares[j] += a * a; \
                count[j] += one; \
            } \
    }
NUMBERS(F4, f4, float)
NUMBERS(F8, f8, double)

/* The range alone; NaN are left out. */
#define RANGE(code, name, T) \
    static void range_##name(const void *RESTRICT rows, Py_ssize_t n, Py_ssize_t stride, \
                             Py_ssize_t width, void *RESTRICT lowest, void *RESTRICT highest) \
    { \
        const T *RESTRICT x = rows; \
        T *RESTRICT low = lowest, *RESTRICT high = highest; \
        for (Py_ssize_t i = 0; i < n; i++, x += stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                low[j] = x[j] < low[j] ? x[j] : low[j]; \
                high[j] = x[j] > high[j] ? x[j] : high[j]; \
            } \
    }
EACH_TYPE(RANGE)

#define PLAIN_OF(code, name, T) plain_##name,
#define DEVIATIONS_OF(code, name, T) deviations_##name,
#define RANGE_OF(code, name, T) range_##name,
static const Plain PLAINS[N_TYPES] = {EACH_TYPE(PLAIN_OF)};
static const Sum DEVIATIONS_[N_TYPES] = {EACH_TYPE(DEVIATIONS_OF)};
static const Range RANGES[N_TYPES] = {EACH_TYPE(RANGE_OF)};
static const Sum NUMBERS_[2] = {numbers_f4, numbers_f8};

/* Rows in blocks of lanes. `shift` and `count` are NULL where a sum has none. */
static void sum_all(Sum sum, int code, const void *rows, Py_ssize_t n, Py_ssize_t stride,
                    Py_ssize_t width, const double *base, const double *shift, double *total,
                    double *squares, double *count)
{
    memset(total, 0, (size_t)width * 8);
    memset(squares, 0, (size_t)width * 8);
    if (count != NULL)
        memset(count, 0, (size_t)width * 8);
    for (Py_ssize_t at = 0; at < width; at += LANES_AT_ONCE)
        sum((const char *)rows + at * SIZE_OF[code], n, stride,
            width - at < LANES_AT_ONCE ? width - at : LANES_AT_ONCE, base + at,
            shift == NULL ? NULL : shift + at, total + at, squares + at,
            count == NULL ? NULL : count + at);
}

static void range_all(int code, const void *rows, Py_ssize_t n, Py_ssize_t width, void *low,
                      void *high)
{
    Py_ssize_t size = SIZE_OF[code];
    for (Py_ssize_t at = 0; at < width; at += LANES_AT_ONCE)
        RANGES[code]((const char *)rows + at * size, n, width,
                     width - at < LANES_AT_ONCE ? width - at : LANES_AT_ONCE,
                     (char *)low + at * size, (char *)high + at * size);
}

static PyObject *plain_sums(PyObject *self, PyObject *args)
{
    int code;
    Py_ssize_t n, width;
    Py_buffer rows, total, squares, low, high;
    if (!PyArg_ParseTuple(args, "iy*nnw*w*w*w*", &code, &rows, &n, &width, &total, &squares, &low,
                          &high))
        return NULL;
    int is_right = is_type(code) && n > 0 && width >= 0 && holds(&total, width, 8) &&
                   holds(&squares, width, 8) && holds(&low, width, SIZE_OF[code]) &&
                   holds(&high, width, SIZE_OF[code]) &&
                   holds(&rows, product(n, width), SIZE_OF[code]);
    if (is_right) {
        Py_ssize_t size = SIZE_OF[code];
        Py_BEGIN_ALLOW_THREADS
        memset(total.buf, 0, (size_t)width * 8);
        memset(squares.buf, 0, (size_t)width * 8);
        memcpy(low.buf, rows.buf, (size_t)(width * size));
        memcpy(high.buf, rows.buf, (size_t)(width * size));
        for (Py_ssize_t at = 0; at < width; at += LANES_AT_ONCE)
            PLAINS[code]((const char *)rows.buf + at * size, n, width,
                         width - at < LANES_AT_ONCE ? width - at : LANES_AT_ONCE,
                         (double *)total.buf + at, (double *)squares.buf + at,
                         (char *)low.buf + at * size, (char *)high.buf + at * size);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&rows, &total, &squares, &low, &high);
    if (!is_right)
        return wrong_memory();
    Py_RETURN_NONE;
}

static PyObject *deviation_sums(PyObject *self, PyObject *args)
{
    int code;
    Py_ssize_t n, width;
    Py_buffer rows, base, shift, total, squares;
    if (!PyArg_ParseTuple(args, "iy*nny*y*w*w*", &code, &rows, &n, &width, &base, &shift, &total,
                          &squares))
        return NULL;
    int is_right = is_type(code) && width >= 0 && holds(&base, width, 8) &&
                   holds(&shift, width, 8) && holds(&total, width, 8) &&
                   holds(&squares, width, 8) && holds(&rows, product(n, width), SIZE_OF[code]);
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        sum_all(DEVIATIONS_[code], code, rows.buf, n, width, width, base.buf, shift.buf, total.buf,
                squares.buf, NULL);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&rows, &base, &shift, &total, &squares);
    if (!is_right)
        return wrong_memory();
    Py_RETURN_NONE;
}

static PyObject *number_sums(PyObject *self, PyObject *args)
{
    int code;
    Py_ssize_t n, width;
    Py_buffer rows, base, total, squares, count, low, high;
    if (!PyArg_ParseTuple(args, "iy*nny*w*w*w*w*w*", &code, &rows, &n, &width, &base, &total,
                          &squares, &count, &low, &high))
        return NULL;
    int is_right = (code == F4 || code == F8) && width >= 0 && holds(&base, width, 8) &&
                   holds(&total, width, 8) && holds(&squares, width, 8) &&
                   holds(&count, width, 8) && holds(&low, width, SIZE_OF[code]) &&
                   holds(&high, width, SIZE_OF[code]) &&
                   holds(&rows, product(n, width), SIZE_OF[code]);
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        sum_all(NUMBERS_[code], code, rows.buf, n, width, width, base.buf, NULL, total.buf,
                squares.buf, count.buf);
        range_all(code, rows.buf, n, width, low.buf, high.buf);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&rows, &base, &total, &squares, &count, &low, &high);
    if (!is_right)
        return wrong_memory();
    Py_RETURN_NONE;
}

/* Exact sums of counts, of which `none` stands for NaN: it counts as 0, and not in the range. */
#define EXACT(attribute, name) \
    attribute static void name(const int16_t *RESTRICT x, Py_ssize_t n, Py_ssize_t stride, \
                               Py_ssize_t width, int16_t none, double *RESTRICT total, \
                               double *RESTRICT squares, int32_t *RESTRICT n_missing, \
                               int16_t *RESTRICT low, int16_t *RESTRICT high) \
    { \
        for (Py_ssize_t i = 0; i < n; i++, x += stride) \
            for (Py_ssize_t j = 0; j < width; j++) { \
                int32_t a = x[j] == none ? 0 : x[j]; \
                total[j] += (double)a; \
                squares[j] += (double)(a * a); \
                n_missing[j] += x[j] == none; \
                int16_t least = x[j] == none ? INT16_MAX : x[j]; \
                int16_t most = x[j] == none ? INT16_MIN : x[j]; \
                low[j] = least < low[j] ? least : low[j]; \
                high[j] = most > high[j] ? most : high[j]; \
            } \
    }
EXACT(, exact_i2)
#if HAS_WIDE
EXACT(WIDE, wide_exact_i2)
#else
#define wide_exact_i2 exact_i2
#endif

static PyObject *count_sums(PyObject *self, PyObject *args)
{
    int missing;
    Py_ssize_t n, width;
    Py_buffer rows, total, squares, n_missing, low, high;
    if (!PyArg_ParseTuple(args, "y*nniw*w*w*w*w*", &rows, &n, &width, &missing, &total, &squares,
                          &n_missing, &low, &high))
        return NULL;
    int is_right = width >= 0 && holds(&total, width, 8) && holds(&squares, width, 8) &&
                   holds(&n_missing, width, 4) && holds(&low, width, 2) && holds(&high, width, 2) &&
                   holds(&rows, product(n, width), 2);
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        memset(total.buf, 0, (size_t)width * 8);
        memset(squares.buf, 0, (size_t)width * 8);
        memset(n_missing.buf, 0, (size_t)width * 4);
        for (Py_ssize_t j = 0; j < width; j++) {
            ((int16_t *)low.buf)[j] = INT16_MAX;
            ((int16_t *)high.buf)[j] = INT16_MIN;
        }
        for (Py_ssize_t at = 0; at < width; at += LANES_AT_ONCE) {
            const int16_t *x = (const int16_t *)rows.buf + at;
            Py_ssize_t some = width - at < LANES_AT_ONCE ? width - at : LANES_AT_ONCE;
            double *sum = (double *)total.buf + at, *square = (double *)squares.buf + at;
            int16_t *least = (int16_t *)low.buf + at, *most = (int16_t *)high.buf + at;
            if (missing > INT16_MAX)
                plain_i2(x, n, width, some, sum, square, least, most);
            else
                (is_wide ? wide_exact_i2 : exact_i2)(x, n, width, some, (int16_t)missing, sum,
                                                     square, (int32_t *)n_missing.buf + at, least,
                                                     most);
        }
        Py_END_ALLOW_THREADS
    }
    RELEASE(&rows, &total, &squares, &n_missing, &low, &high);
    if (!is_right)
        return wrong_memory();
    Py_RETURN_NONE;
}

/* ---- Gather, scale and convert ------------------------------------------------------------- */

typedef void (*Turn)(const void *, void *, Py_ssize_t, const void *, const void *, const void *);

#define CAST(T, tname, D, dname) \
    static void cast_##tname##_##dname(const void *src, void *dst, Py_ssize_t n, const void *p0, \
                                       const void *p1, const void *p2) \
    { \
        const T *RESTRICT x = src; \
        D *RESTRICT y = dst; \
        (void)p0, (void)p1, (void)p2; \
        for (Py_ssize_t j = 0; j < n; j++) \
            y[j] = (D)x[j]; \
    }

/* (x - origin) * gain + offset, in float64. */
#define AFFINE(T, tname, D, dname) AFFINE_AS(, affine, T, tname, D, dname)
#define AFFINE_AS(attribute, kind, T, tname, D, dname) \
    attribute static void kind##_##tname##_##dname(const void *src, void *dst, Py_ssize_t n, \
                                                   const void *p0, const void *p1, \
                                                   const void *p2) \
    { \
        const T *RESTRICT x = src; \
        const double *RESTRICT origin = p0, *RESTRICT gain = p1, *RESTRICT offset = p2; \
        D *RESTRICT y = dst; \
        for (Py_ssize_t j = 0; j < n; j++) \
            y[j] = (D)(((double)x[j] - origin[j]) * gain[j] + offset[j]); \
    }

/* (x - shift) in the type W, which holds both, times scale in that of the result. */
#define LINEAR(T, tname, D, dname, W) \
    static void linear_##tname##_##dname(const void *src, void *dst, Py_ssize_t n, const void *p0, \
                                         const void *p1, const void *p2) \
    { \
        const T *RESTRICT x = src; \
        const W *RESTRICT shift = p0; \
        const D *RESTRICT scale = p1; \
        D *RESTRICT y = dst; \
        (void)p2; \
        for (Py_ssize_t j = 0; j < n; j++) \
            y[j] = (D)((W)x[j] - shift[j]) * scale[j]; \
    }

#define TURNS(code, name, T) \
    CAST(T, name, float, f4) CAST(T, name, double, f8) \
    AFFINE(T, name, float, f4) AFFINE(T, name, double, f8) \
    LINEAR(T, name, double, f8, double)
EACH_TYPE(TURNS)
LINEAR(float, f4, float, f4, float)
LINEAR(int8_t, i1, float, f4, float)
LINEAR(uint8_t, u1, float, f4, float)
LINEAR(int16_t, i2, float, f4, float)
LINEAR(uint16_t, u2, float, f4, float)
LINEAR(double, f8, float, f4, double)
LINEAR(int32_t, i4, float, f4, double)
LINEAR(uint32_t, u4, float, f4, double)
LINEAR(int64_t, i8, float, f4, double)
LINEAR(uint64_t, u8, float, f4, double)

#if HAS_WIDE
AFFINE_AS(WIDE, wide_affine, int16_t, i2, float, f4)
#else
#define wide_affine_i2_f4 affine_i2_f4
#endif

enum { COPY, AS_AFFINE, AS_LINEAR };
#define TURNS_OF(code, name, T) \
    {{cast_##name##_f4, affine_##name##_f4, linear_##name##_f4}, \
     {cast_##name##_f8, affine_##name##_f8, linear_##name##_f8}},
static const Turn TURN_OF[N_TYPES][2][3] = {EACH_TYPE(TURNS_OF)};
/* Bytes of a shift of LINEAR, by type of the source and of the result. */
static const Py_ssize_t SHIFT_SIZE[N_TYPES][2] = {
    {4, 8}, {8, 8}, {4, 8}, {4, 8}, {4, 8}, {4, 8}, {8, 8}, {8, 8}, {8, 8}, {8, 8}};

/* Both values are loaded whatever is chosen: a load under a condition is not vectorized. */
#define FILL(name, D) \
    static void fill_##name(D *RESTRICT y, Py_ssize_t n, const D *RESTRICT fill) \
    { \
        for (Py_ssize_t j = 0; j < n; j++) { \
            D v = y[j], other = fill[j]; \
            y[j] = v == v ? v : other; \
        } \
    } \
    static void fill_missing_##name(const int16_t *RESTRICT x, int16_t missing, D *RESTRICT y, \
                                    Py_ssize_t n, const D *RESTRICT fill) \
    { \
        for (Py_ssize_t j = 0; j < n; j++) { \
            D v = y[j], other = fill[j]; \
            y[j] = x[j] == missing ? other : v; \
        } \
    }
FILL(f4, float)
FILL(f8, double)

typedef struct {
    int from, to;             /* types */
    Turn turn;                /* NULL: bytes are copied */
    Py_ssize_t lanes;         /* items of a row of the parameters */
    const char *p0, *p1, *p2; /* parameters, and the bytes of an item of each */
    Py_ssize_t size0, size1, size2;
    const char *fill;         /* of the type of the result, or NULL */
    int missing;              /* the count that stands for NaN; above INT16_MAX: none */
} Change;

static const char *moved(const char *p, Py_ssize_t n) { return p == NULL ? NULL : p + n; }

static void turn_piece(const Change *c, const char *src, char *dst, Py_ssize_t n, Py_ssize_t at)
{
    Py_ssize_t to_size = SIZE_OF[c->to];
    c->turn(src, dst, n, moved(c->p0, at * c->size0), moved(c->p1, at * c->size1),
            moved(c->p2, at * c->size2));
    if (c->fill == NULL)
        return;
    const char *fill = c->fill + at * to_size;
    if (c->missing <= INT16_MAX) {
        if (c->to == F4)
            fill_missing_f4((const int16_t *)src, (int16_t)c->missing, (float *)dst, n,
                            (const float *)fill);
        else
            fill_missing_f8((const int16_t *)src, (int16_t)c->missing, (double *)dst, n,
                            (const double *)fill);
    } else if (c->to == F4)
        fill_f4((float *)dst, n, (const float *)fill);
    else
        fill_f8((double *)dst, n, (const double *)fill);
}

/* Items of one run; `row` is that of the parameters, and `next` the run that comes after it, or NULL.
   In place, items pass through the stack. */
static void turn_run(const Change *whole, Py_ssize_t row, const char *src, char *dst, Py_ssize_t n,
                     const char *next)
{
    Py_ssize_t from_size = SIZE_OF[whole->from], to_size = SIZE_OF[whole->to];
    if (whole->turn == NULL) {
        if (src != dst)
            memcpy(dst, src, (size_t)(n * to_size));
        return;
    }
    Change c = *whole;
    Py_ssize_t skipped = row * c.lanes;
    c.p0 = moved(c.p0, skipped * c.size0);
    c.p1 = moved(c.p1, skipped * c.size1);
    c.p2 = moved(c.p2, skipped * c.size2);
    c.fill = moved(c.fill, skipped * to_size);
    for (Py_ssize_t start = 0; start < n; start += c.lanes) {
        Py_ssize_t width = n - start < c.lanes ? n - start : c.lanes;
        const char *from = src + start * from_size;
        char *to = dst + start * to_size;
        if (from != to) {
            /* Runs lie anywhere in memory: while one is worked on, the next one is on its way. */
            if (next != NULL)
                for (Py_ssize_t at = 0; at < width * from_size; at += CACHE_LINE)
                    PREFETCH(next + start * from_size + at);
            turn_piece(&c, from, to, width, 0);
            continue;
        }
        double copy[COPIED_AT_ONCE];
        for (Py_ssize_t at = 0; at < width; at += COPIED_AT_ONCE) {
            Py_ssize_t some = width - at < COPIED_AT_ONCE ? width - at : COPIED_AT_ONCE;
            memcpy(copy, from + at * from_size, (size_t)(some * from_size));
            turn_piece(&c, (const char *)copy, to + at * to_size, some, at);
        }
    }
}

/* Whether every index lies in 0 .. limit - 1. */
static int is_within(const int64_t *indices, Py_ssize_t n, int64_t limit)
{
    int is_out = 0;
    for (Py_ssize_t i = 0; i < n; i++)
        is_out |= indices[i] < 0 || indices[i] >= limit;
    return !is_out;
}

static PyObject *wrong_index(void)
{
    PyErr_SetString(PyExc_IndexError, "a row or a row of parameters that is not there");
    return NULL;
}

/* A `Change` from a call: kind, lanes, rows of parameters, the parameters, fill, missing. Returns
   whether they are of the right sizes. */
static int set_change(Change *c, int kind, Py_ssize_t n_rows, const Py_buffer *p0,
                      const Py_buffer *p1, const Py_buffer *p2, const Py_buffer *fill)
{
    if (!is_type(c->from) || !is_type(c->to) || kind < COPY || kind > AS_LINEAR || c->lanes <= 0)
        return 0;
    c->turn = NULL;
    if (kind == COPY && c->from == c->to && fill->buf == NULL)
        return 1;
    if (c->to != F4 && c->to != F8)
        return 0;
    Py_ssize_t n = product(n_rows, c->lanes);
    c->turn = TURN_OF[c->from][c->to][kind];
    if (is_wide && kind == AS_AFFINE && c->from == I2 && c->to == F4)
        c->turn = wide_affine_i2_f4;
    if (kind == AS_AFFINE) {
        c->size0 = c->size1 = c->size2 = 8;
        if (!holds(p0, n, 8) || !holds(p1, n, 8) || !holds(p2, n, 8))
            return 0;
        c->p0 = p0->buf, c->p1 = p1->buf, c->p2 = p2->buf;
    } else if (kind == AS_LINEAR) {
        c->size0 = SHIFT_SIZE[c->from][c->to];
        c->size1 = SIZE_OF[c->to];
        if (!holds(p0, n, c->size0) || !holds(p1, n, c->size1))
            return 0;
        c->p0 = p0->buf, c->p1 = p1->buf;
    }
    c->fill = fill->buf;
    if (c->fill == NULL)
        return c->missing > INT16_MAX;
    return holds(fill, n, SIZE_OF[c->to]) && (c->missing > INT16_MAX || c->from == I2);
}

static PyObject *gather(PyObject *self, PyObject *args)
{
    int kind, is_inside = 0;
    Py_ssize_t n_rows, row_items, n_runs, length, n_tables;
    Change c = {0};
    Py_buffer memory, starts, out, tables, p0, p1, p2, fill;
    if (!PyArg_ParseTuple(args, "iy*nny*nniw*iz*nnz*z*z*z*i", &c.from, &memory, &n_rows,
                          &row_items, &starts, &n_runs, &length, &c.to, &out, &kind, &tables,
                          &n_tables, &c.lanes, &p0, &p1, &p2, &fill, &c.missing))
        return NULL;
    Py_ssize_t run_items = product(length, row_items);
    int is_right = set_change(&c, kind, n_tables, &p0, &p1, &p2, &fill) && run_items > 0 &&
                   n_tables > 0 &&
                   holds(&memory, product(n_rows, row_items), SIZE_OF[c.from]) &&
                   holds(&starts, n_runs, 8) &&
                   holds(&out, product(n_runs, run_items), SIZE_OF[c.to]) &&
                   (tables.buf == NULL || holds(&tables, n_runs, 8));
    if (is_right) {
        const int64_t *first = starts.buf, *table = tables.buf;
        Py_BEGIN_ALLOW_THREADS
        is_inside = is_within(first, n_runs, (int64_t)(n_rows - length + 1)) &&
                    (table == NULL || is_within(table, n_runs, (int64_t)n_tables));
        const char *rows = memory.buf;
        Py_ssize_t row_bytes = row_items * SIZE_OF[c.from];
        for (Py_ssize_t i = 0; is_inside && i < n_runs; i++)
            turn_run(&c, table == NULL ? 0 : (Py_ssize_t)table[i],
                     rows + (Py_ssize_t)first[i] * row_bytes,
                     (char *)out.buf + i * run_items * SIZE_OF[c.to], run_items,
                     i + 1 < n_runs ? rows + (Py_ssize_t)first[i + 1] * row_bytes : NULL);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&memory, &starts, &out, &tables, &p0, &p1, &p2, &fill);
    if (!is_right)
        return wrong_memory();
    if (!is_inside)
        return wrong_index();
    Py_RETURN_NONE;
}

/* ---- Scale each run by its own statistics -------------------------------------------------- */

enum { STANDARD, MINMAX };

/* The first value of a run that is a number, for each channel; 0 where there is none. */
#define FIRST(code, name, T) \
    static void first_##name(const void *rows, Py_ssize_t n, Py_ssize_t channels, double *base) \
    { \
        const T *x = rows; \
        for (Py_ssize_t c = 0; c < channels; c++) { \
            Py_ssize_t i = c; \
            while (i < n && x[i] != x[i]) \
                i += channels; \
            base[c] = i < n ? (double)x[i] : 0.0; \
        } \
    }
EACH_TYPE(FIRST)

/* The range of lanes that hold one channel each, as doubles; infinite where there is none. */
#define EXTREMES(code, name, T) \
    static void extremes_##name(const void *rows, Py_ssize_t n, Py_ssize_t lanes, \
                                double *RESTRICT low, double *RESTRICT high) \
    { \
        const T *x = rows; \
        for (Py_ssize_t start = 0; start < n; start += lanes) { \
            Py_ssize_t width = n - start < lanes ? n - start : lanes; \
            const T *RESTRICT p = x + start; \
            for (Py_ssize_t j = 0; j < width; j++) { \
                double v = (double)p[j]; \
                low[j] = v < low[j] ? v : low[j]; \
                high[j] = v > high[j] ? v : high[j]; \
            } \
        } \
    }
EACH_TYPE(EXTREMES)

typedef void (*First)(const void *, Py_ssize_t, Py_ssize_t, double *);
typedef void (*Extremes)(const void *, Py_ssize_t, Py_ssize_t, double *, double *);
#define FIRST_OF(code, name, T) first_##name,
#define EXTREMES_OF(code, name, T) extremes_##name,
static const First FIRSTS[N_TYPES] = {EACH_TYPE(FIRST_OF)};
static const Extremes EXTREMES_[N_TYPES] = {EACH_TYPE(EXTREMES_OF)};

typedef struct {
    int from, to, mode, has_nan, fills;
    Py_ssize_t channels, folds;
    /* Of `lanes` items each, but for none, which are zeros. */
    double *base, *total, *squares, *count, *low, *high, *origin, *gain, *offset, *none, *fill;
} Own;
#define OWN_ARRAYS 11

static void tile(double *lanes, Py_ssize_t channels, Py_ssize_t folds)
{
    for (Py_ssize_t i = channels; i < channels * folds; i++)
        lanes[i] = lanes[i - channels];
}

/* Statistics of the first `kept` items of a run, as a scaling of all of its channels. */
static void measure_run(const Own *o, const char *src, Py_ssize_t kept)
{
    Py_ssize_t channels = o->channels, lanes = channels * o->folds;
    Py_ssize_t rows = kept / lanes, rest = kept % lanes;
    const char *tail = src + rows * lanes * SIZE_OF[o->from];
    FIRSTS[o->from](src, kept, channels, o->base);
    tile(o->base, channels, o->folds);
    Sum sum = o->has_nan ? NUMBERS_[o->from] : DEVIATIONS_[o->from];
    sum_all(sum, o->from, src, rows, lanes, lanes, o->base, o->none, o->total, o->squares,
            o->count);
    if (rest)
        sum(tail, 1, lanes, rest, o->base, o->none, o->total, o->squares, o->count);
    for (Py_ssize_t half = o->folds / 2; half; half /= 2)
        for (Py_ssize_t j = 0; j < half * channels; j++) {
            o->total[j] += o->total[j + half * channels];
            o->squares[j] += o->squares[j + half * channels];
            o->count[j] += o->count[j + half * channels];
        }
    if (o->mode == MINMAX) {
        for (Py_ssize_t j = 0; j < lanes; j++)
            o->low[j] = INFINITY, o->high[j] = -INFINITY;
        EXTREMES_[o->from](src, kept, lanes, o->low, o->high);
        for (Py_ssize_t j = channels; j < lanes; j++) {
            Py_ssize_t c = j % channels;
            o->low[c] = o->low[j] < o->low[c] ? o->low[j] : o->low[c];
            o->high[c] = o->high[j] > o->high[c] ? o->high[j] : o->high[c];
        }
    }
    for (Py_ssize_t c = 0; c < channels; c++) {
        double n = o->has_nan ? o->count[c] : (double)(kept / channels);
        double some = n > 1.0 ? n : 1.0, mean = o->total[c] / some, spread, gain;
        if (o->mode == STANDARD) {
            spread = o->squares[c] / some - mean * mean;
            spread = spread > 0.0 ? sqrt(spread) : 1.0;
            gain = 1.0 / spread;
            o->origin[c] = o->base[c];
            o->offset[c] = 0.0 - mean * gain;
            o->fill[c] = 0.0;
        } else {
            double low = n > 0.0 ? o->low[c] : 0.0;
            spread = n > 0.0 ? o->high[c] - low : 0.0;
            spread = spread > 0.0 ? spread : 1.0;
            gain = 1.0 / spread;
            o->origin[c] = low;
            o->offset[c] = 0.0;
            o->fill[c] = ((o->base[c] - low) + mean) * gain;
        }
        o->gain[c] = gain;
    }
    tile(o->origin, channels, o->folds);
    tile(o->gain, channels, o->folds);
    tile(o->offset, channels, o->folds);
    tile(o->fill, channels, o->folds);
}

static PyObject *scale_own(PyObject *self, PyObject *args)
{
    int is_inside = 0;
    Py_ssize_t n_rows, row_items, n_runs, length;
    Own o = {0};
    Py_buffer memory, starts, out, kept, scratch;
    if (!PyArg_ParseTuple(args, "iy*nny*nniw*z*iiinnw*", &o.from, &memory, &n_rows, &row_items,
                          &starts, &n_runs, &length, &o.to, &out, &kept, &o.mode, &o.has_nan,
                          &o.fills, &o.channels, &o.folds, &scratch))
        return NULL;
    Py_ssize_t run_items = product(length, row_items), lanes = product(o.channels, o.folds);
    int is_right = is_type(o.from) && (o.to == F4 || o.to == F8) && run_items > 0 && lanes > 0 &&
                   (o.mode == STANDARD || o.mode == MINMAX) && run_items % o.channels == 0 &&
                   holds(&memory, product(n_rows, row_items), SIZE_OF[o.from]) &&
                   holds(&starts, n_runs, 8) &&
                   holds(&out, product(n_runs, run_items), SIZE_OF[o.to]) &&
                   holds(&scratch, product(lanes, OWN_ARRAYS), 8) &&
                   (kept.buf == NULL || holds(&kept, n_runs, 8));
    if (is_right) {
        const int64_t *first = starts.buf, *some = kept.buf;
        double **arrays[OWN_ARRAYS] = {&o.base, &o.total, &o.squares, &o.count, &o.low, &o.high,
                                       &o.origin, &o.gain, &o.offset, &o.none, &o.fill};
        for (int i = 0; i < OWN_ARRAYS; i++)
            *arrays[i] = (double *)scratch.buf + i * lanes;
        Change c = {.from = o.from, .to = o.to, .turn = TURN_OF[o.from][o.to][AS_AFFINE],
                    .lanes = lanes, .p0 = (const char *)o.origin, .p1 = (const char *)o.gain,
                    .p2 = (const char *)o.offset, .size0 = 8, .size1 = 8, .size2 = 8,
                    .missing = INT16_MAX + 1};
        int has_nan = o.has_nan && (o.from == F4 || o.from == F8);
        o.has_nan = has_nan;
        Py_BEGIN_ALLOW_THREADS
        is_inside = is_within(first, n_runs, (int64_t)(n_rows - length + 1)) &&
                    (some == NULL || is_within(some, n_runs, (int64_t)run_items + 1));
        memset(o.none, 0, (size_t)lanes * 8);
        for (Py_ssize_t i = 0; is_inside && i < n_runs; i++) {
            const char *src =
                (const char *)memory.buf + (Py_ssize_t)first[i] * row_items * SIZE_OF[o.from];
            measure_run(&o, src, some == NULL ? run_items : (Py_ssize_t)some[i]);
            if (o.fills && has_nan) {
                /* As doubles they take their own place: each is read before it is written. */
                if (o.to == F4)
                    for (Py_ssize_t j = 0; j < lanes; j++) {
                        float value = (float)o.fill[j];
                        memcpy((char *)o.fill + j * 4, &value, 4);
                    }
                c.fill = (const char *)o.fill;
            }
            turn_run(&c, 0, src, (char *)out.buf + i * run_items * SIZE_OF[o.to], run_items,
                     NULL);
        }
        Py_END_ALLOW_THREADS
    }
    RELEASE(&memory, &starts, &out, &kept, &scratch);
    if (!is_right)
        return wrong_memory();
    if (!is_inside)
        return wrong_index();
    Py_RETURN_NONE;
}

/* ---- Pack floats into counts ---------------------------------------------------------------- */

/* Adding and subtracting this rounds a double below 2 ** 51 to the nearest integer, half to even,
   as np.rint does; rint() itself would need a later instruction set. */
static const double ROUNDER = 6755399441055744.0;

typedef struct {
    const double *gain, *inverse, *offset;
    double lowest, tolerance;
    double of_nan, miss_of_nan; /* the count of NaN, and how far off they are */
} Packing;

/* Packs some lanes; `is_unfit` becomes 1 where a value is farther from its count's than the
   tolerance, and stays else. (gcc vectorizes this, and no reduction to a single number.) */
#define PACK(attribute, name) \
    attribute static void name(const float *RESTRICT x, int16_t *RESTRICT counts, Py_ssize_t n, \
                               const double *RESTRICT gain, const double *RESTRICT inverse, \
                               const double *RESTRICT offset, const Packing *p, \
                               double *RESTRICT is_unfit) \
    { \
        double lowest = p->lowest, tolerance = p->tolerance, of_nan = p->of_nan; \
        double miss_of_nan = p->miss_of_nan; \
        for (Py_ssize_t j = 0; j < n; j++) { \
            double v = (double)x[j], before = is_unfit[j]; \
            double k = (v - offset[j]) * inverse[j]; \
            k = (k + ROUNDER) - ROUNDER; \
            k = k > lowest ? k : lowest; \
            k = k < 32767.0 ? k : 32767.0; \
            double miss = fabs((double)(float)(k * gain[j] + offset[j]) - v); \
            miss = v == v ? miss : miss_of_nan; \
            k = v == v ? k : of_nan; \
            is_unfit[j] = miss <= tolerance ? before : 1.0; \
            counts[j] = (int16_t)(int32_t)k; \
        } \
    }
typedef void (*Pack)(const float *RESTRICT, int16_t *RESTRICT, Py_ssize_t, const double *RESTRICT,
                     const double *RESTRICT, const double *RESTRICT, const Packing *,
                     double *RESTRICT);
PACK(, pack_lanes)
#if HAS_WIDE
PACK(WIDE, wide_pack_lanes)
#else
#define wide_pack_lanes pack_lanes
#endif

/* Packs rows of `lanes` values, of which the last may be shorter; returns how many fit. */
static Py_ssize_t pack_rows(const float *x, int16_t *counts, Py_ssize_t n, Py_ssize_t lanes,
                            const Packing *p)
{
    double is_unfit[LANES_AT_ONCE] = {0};
    int any = 0;
    Pack pack_some = is_wide ? wide_pack_lanes : pack_lanes;
    for (Py_ssize_t row = 0; row < n; row += lanes)
        for (Py_ssize_t at = 0; at < lanes && row + at < n; at += LANES_AT_ONCE) {
            Py_ssize_t width = lanes - at < n - row - at ? lanes - at : n - row - at;
            width = width < LANES_AT_ONCE ? width : LANES_AT_ONCE;
            pack_some(x + row + at, counts + row + at, width, p->gain + at, p->inverse + at,
                      p->offset + at, p, is_unfit);
        }
    for (Py_ssize_t j = 0; j < LANES_AT_ONCE; j++)
        any |= is_unfit[j] != 0.0;
    for (Py_ssize_t i = 0; any && i < n; i++) {
        Py_ssize_t j = i % lanes;
        *is_unfit = 0.0;
        pack_lanes(x + i, counts + i, 1, p->gain + j, p->inverse + j, p->offset + j, p, is_unfit);
        if (*is_unfit != 0.0)
            return i;
    }
    return n;
}

static PyObject *pack(PyObject *self, PyObject *args)
{
    int missing;
    double tolerance;
    Py_ssize_t n, lanes, unfit = -1;
    Py_buffer values, counts, gain, inverse, offset;
    if (!PyArg_ParseTuple(args, "y*w*nny*y*y*di", &values, &counts, &n, &lanes, &gain, &inverse,
                          &offset, &tolerance, &missing))
        return NULL;
    int is_right = n >= 0 && lanes > 0 && holds(&values, n, 4) && holds(&counts, n, 2) &&
                   holds(&gain, lanes, 8) && holds(&inverse, lanes, 8) && holds(&offset, lanes, 8) &&
                   (missing > INT16_MAX || missing == INT16_MIN);
    if (is_right) {
        /* The count that stands for NaN is the lowest, which no value gets. */
        int has_missing = missing <= INT16_MAX;
        Packing p = {.gain = gain.buf, .inverse = inverse.buf, .offset = offset.buf,
                     .lowest = has_missing ? -32767.0 : -32768.0, .tolerance = tolerance,
                     .of_nan = -32768.0, .miss_of_nan = has_missing ? 0.0 : INFINITY};
        Py_ssize_t step = lanes * (lanes < PACKED_AT_ONCE ? PACKED_AT_ONCE / lanes : 1);
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t at = 0; at < n && unfit < 0; at += step) {
            Py_ssize_t some = n - at < step ? n - at : step;
            Py_ssize_t fit = pack_rows((const float *)values.buf + at, (int16_t *)counts.buf + at,
                                       some, lanes, &p);
            if (fit < some)
                unfit = at + fit;
        }
        Py_END_ALLOW_THREADS
    }
    RELEASE(&values, &counts, &gain, &inverse, &offset);
    if (!is_right)
        return wrong_memory();
    return PyLong_FromSsize_t(unfit);
}

/* ---- The most frequent of some labels ------------------------------------------------------- */

/* Codes are counted from `least` on; `counts` are zeros, and are so again afterwards. Labels that
   are missing do not count; where there are no others, the winner is the smallest code. */
#define VOTE(code, name, T) \
    static int vote_##name(const void *labels, Py_ssize_t n, Py_ssize_t length, int64_t least, \
                           int64_t n_codes, const int32_t *is_missing, int32_t *counts, \
                           void *winners, int32_t *n_labelled) \
    { \
        const T *x = labels; \
        T *winner = winners; \
        for (Py_ssize_t i = 0; i < n; i++, x += length) { \
            for (Py_ssize_t j = 0; j < length; j++) \
                if ((int64_t)x[j] < least || (int64_t)x[j] - least >= n_codes) \
                    return 0; \
            for (Py_ssize_t j = 0; j < length; j++) \
                counts[(int64_t)x[j] - least]++; \
            int64_t best = 0; \
            int32_t most = 0, n_others = 0; \
            for (Py_ssize_t j = 0; j < length; j++) { \
                int64_t k = (int64_t)x[j] - least; \
                n_others += !is_missing[k]; \
                if (is_missing[k] || counts[k] < most || (counts[k] == most && k > best)) \
                    continue; \
                most = counts[k]; \
                best = k; \
            } \
            for (Py_ssize_t j = 0; j < length; j++) \
                counts[(int64_t)x[j] - least] = 0; \
            winner[i] = (T)(least + best); \
            n_labelled[i] = n_others; \
        } \
        return 1; \
    }
EACH_INTEGER(VOTE)

typedef int (*Vote)(const void *, Py_ssize_t, Py_ssize_t, int64_t, int64_t, const int32_t *,
                    int32_t *, void *, int32_t *);
#define VOTE_OF(code, name, T) vote_##name,
static const Vote VOTES[N_TYPES] = {NULL, NULL, EACH_INTEGER(VOTE_OF)};

static PyObject *vote(PyObject *self, PyObject *args)
{
    int code, is_inside = 0;
    Py_ssize_t n, length;
    long long least, n_codes;
    Py_buffer labels, is_missing, counts, winners, n_labelled;
    if (!PyArg_ParseTuple(args, "iy*nnLLy*w*w*w*", &code, &labels, &n, &length, &least, &n_codes,
                          &is_missing, &counts, &winners, &n_labelled))
        return NULL;
    int is_right = is_type(code) && VOTES[code] != NULL && length > 0 && length <= INT32_MAX &&
                   n_codes > 0 && n_codes <= INT32_MAX && holds(&winners, n, SIZE_OF[code]) &&
                   holds(&labels, product(n, length), SIZE_OF[code]) &&
                   holds(&is_missing, (Py_ssize_t)n_codes, 4) &&
                   holds(&counts, (Py_ssize_t)n_codes, 4) && holds(&n_labelled, n, 4);
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        memset(counts.buf, 0, (size_t)n_codes * 4);
        is_inside = VOTES[code](labels.buf, n, length, least, n_codes, is_missing.buf, counts.buf,
                                winners.buf, n_labelled.buf);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&labels, &is_missing, &counts, &winners, &n_labelled);
    if (!is_right)
        return wrong_memory();
    if (!is_inside)
        return wrong_index();
    Py_RETURN_NONE;
}

/* ---- Weighted sums of rows ------------------------------------------------------------------- */

/* Lanes whose sums stay in registers while all weights are added. */
#define LANES_SUMMED 8

/* Sums of n_weights rows of LANES_SUMMED columns, in ascending order. */
static void sum_lanes(const double *RESTRICT x, Py_ssize_t width, const double *RESTRICT weights,
                      Py_ssize_t n_weights, double *RESTRICT out)
{
    double t[LANES_SUMMED] = {0};
    for (Py_ssize_t k = 0; k < n_weights; k++, x += width) {
        double w = weights[k];
        for (int j = 0; j < LANES_SUMMED; j++)
            t[j] += w * x[j];
    }
    for (int j = 0; j < LANES_SUMMED; j++)
        out[j] = t[j];
}

/* The same of one column, for LANES_SUMMED sums at once: an addition waits for the one before. */
static void sum_rows(const double *RESTRICT x, Py_ssize_t width, const double *RESTRICT weights,
                     Py_ssize_t n_weights, const int64_t *RESTRICT branches,
                     const int64_t *RESTRICT firsts, int n, double *RESTRICT out)
{
    double t[LANES_SUMMED] = {0};
    const double *from[LANES_SUMMED], *by[LANES_SUMMED];
    for (int i = 0; i < LANES_SUMMED; i++) {
        int row = i < n ? i : 0;
        from[i] = x + firsts[row] * width;
        by[i] = weights + branches[row] * n_weights;
    }
    for (Py_ssize_t k = 0; k < n_weights; k++)
        for (int i = 0; i < LANES_SUMMED; i++)
            t[i] += by[i][k] * from[i][k * width];
    for (int i = 0; i < n; i++)
        out[i * width] = t[i];
}

static void sum_weighted(const double *RESTRICT x, Py_ssize_t width,
                         const double *RESTRICT weights, Py_ssize_t n_weights,
                         const int64_t *RESTRICT branches, const int64_t *RESTRICT firsts,
                         Py_ssize_t n, double *RESTRICT out)
{
    Py_ssize_t whole = width - width % LANES_SUMMED;
    for (Py_ssize_t i = 0; i < n; i++)
        for (Py_ssize_t j = 0; j < whole; j += LANES_SUMMED)
            sum_lanes(x + firsts[i] * width + j, width, weights + branches[i] * n_weights,
                      n_weights, out + i * width + j);
    for (Py_ssize_t i = 0; i < n; i += LANES_SUMMED) {
        int count = n - i < LANES_SUMMED ? (int)(n - i) : LANES_SUMMED;
        for (Py_ssize_t j = whole; j < width; j++)
            sum_rows(x + j, width, weights, n_weights, branches + i, firsts + i, count,
                     out + i * width + j);
    }
}

static PyObject *weighted_sums(PyObject *self, PyObject *args)
{
    Py_ssize_t n_rows, width, n_branches, n_weights, n;
    Py_buffer rows, weights, branches, firsts, out;
    if (!PyArg_ParseTuple(args, "y*nny*nny*y*nw*", &rows, &n_rows, &width, &weights, &n_branches,
                          &n_weights, &branches, &firsts, &n, &out))
        return NULL;
    int is_right = width >= 0 && n_weights >= 0 && holds(&rows, product(n_rows, width), 8) &&
                   holds(&weights, product(n_branches, n_weights), 8) && holds(&branches, n, 8) &&
                   holds(&firsts, n, 8) && holds(&out, product(n, width), 8);
    int is_inside = is_right && is_within(branches.buf, n, n_branches) &&
                    is_within(firsts.buf, n, n_rows - n_weights + 1);
    if (is_inside) {
        Py_BEGIN_ALLOW_THREADS
        sum_weighted(rows.buf, width, weights.buf, n_weights, branches.buf, firsts.buf, n, out.buf);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&rows, &weights, &branches, &firsts, &out);
    if (!is_right)
        return wrong_memory();
    if (!is_inside)
        return wrong_index();
    Py_RETURN_NONE;
}

/* ---- Permute numbers ------------------------------------------------------------------------ */

enum { N_ROUNDS = 6 };

/* SplitMix64 at a counter, as `keyed_bits` in keyed.py. */
static uint64_t keyed_bits(uint64_t key, uint64_t counter)
{
    uint64_t z = counter * UINT64_C(0x9E3779B97F4A7C15) + key;
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

/* Where a permutation of the numbers below `size` sends one of them. */
static uint64_t permuted(uint64_t value, uint64_t size, uint64_t key)
{
    int half = 1;
    while (half < 32 && (size - 1) >> 2 * half != 0)
        half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = value >> half, right = value & mask;
        for (uint64_t round = 1; round <= N_ROUNDS; round++) {
            uint64_t drawn = keyed_bits(key ^ round * UINT64_C(0xD6E8FEB86659FD93), right);
            uint64_t next = left ^ (drawn >> 32 & mask);
            left = right;
            right = next;
        }
        value = left << half | right;
    } while (value >= size);
    return value;
}

/* permute(values, sizes, keys, n): in place; each value is less than its size. */
static PyObject *permute(PyObject *self, PyObject *args)
{
    Py_buffer values, sizes, keys;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "w*y*y*n", &values, &sizes, &keys, &n))
        return NULL;
    int is_right = holds(&values, n, 8) && holds(&sizes, n, 8) && holds(&keys, n, 8);
    int is_inside = is_right;
    if (is_right) {
        uint64_t *value = values.buf;
        const uint64_t *size = sizes.buf, *key = keys.buf;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < n; i++)
            is_inside &= value[i] < size[i];
        for (Py_ssize_t i = 0; is_inside && i < n; i++)
            value[i] = permuted(value[i], size[i], key[i]);
        Py_END_ALLOW_THREADS
    }
    RELEASE(&values, &sizes, &keys);
    if (!is_right)
        return wrong_memory();
    if (!is_inside)
        return wrong_index();
    Py_RETURN_NONE;
}

/* ---- The module ------------------------------------------------------------------------------ */

/* Use what is built for newer processors, or not; returns whether it is used. For tests. */
static PyObject *use_wide(PyObject *self, PyObject *wanted)
{
    int yes = PyObject_IsTrue(wanted);
    if (yes < 0)
        return NULL;
    is_wide = yes && CAN_BE_WIDE;
    return PyBool_FromLong(is_wide);
}

/* In _chunks.c. */
PyObject *read_chunks(PyObject *self, PyObject *args);
int can_read_chunks(void);

static PyMethodDef METHODS[] = {
    {"plain_sums", plain_sums, METH_VARARGS, NULL},
    {"deviation_sums", deviation_sums, METH_VARARGS, NULL},
    {"number_sums", number_sums, METH_VARARGS, NULL},
    {"count_sums", count_sums, METH_VARARGS, NULL},
    {"gather", gather, METH_VARARGS, NULL},
    {"scale_own", scale_own, METH_VARARGS, NULL},
    {"pack", pack, METH_VARARGS, NULL},
    {"vote", vote, METH_VARARGS, NULL},
    {"weighted_sums", weighted_sums, METH_VARARGS, NULL},
    {"permute", permute, METH_VARARGS, NULL},
    {"read_chunks", read_chunks, METH_VARARGS, NULL},
    {"use_wide", use_wide, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int fill_module(PyObject *module)
{
    is_wide = CAN_BE_WIDE;
    if (PyModule_AddIntConstant(module, "READS_CHUNKS", can_read_chunks()))
        return -1;
    return PyModule_AddIntConstant(module, "ABI", ABI);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, (void *)fill_module}, {0, NULL}};

static struct PyModuleDef MODULE = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_compiled",
    .m_methods = METHODS,
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__compiled(void) { return PyModuleDef_Init(&MODULE); }
