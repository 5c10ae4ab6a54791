/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The one door between formats/ and the world it is compiled for.
 *
 * A format file sees fixed-width types, disk-order types, accessors that take
 * any address, static_assert and three errno values: nothing else of the
 * kernel or of libc. This is the only file with an #ifdef __KERNEL__.
 *
 * The accessors are written here, not taken from the exported byte-order
 * macros: those lose sparse's __force in user space, so that correct code
 * draws warnings.
 */
#ifndef _VDISK_ENV_H
#define _VDISK_ENV_H

#ifdef __KERNEL__

#include <linux/types.h>
#include <linux/string.h>
#include <linux/errno.h>
#include <linux/build_bug.h>
#include <linux/math64.h>

#define vdisk_div(a, b) div64_u64((a), (b))

#else

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>
#include <errno.h>
#include <assert.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#ifdef __CHECKER__
#define __vdisk_bitwise __attribute__((bitwise))
#define __force __attribute__((force))
#else
#define __vdisk_bitwise
#define __force
#endif

#ifndef _LINUX_TYPES_H
typedef u16 __vdisk_bitwise __le16;
typedef u32 __vdisk_bitwise __le32;
typedef u64 __vdisk_bitwise __le64;
typedef u16 __vdisk_bitwise __be16;
typedef u32 __vdisk_bitwise __be32;
typedef u64 __vdisk_bitwise __be64;
#endif

#ifndef __packed
#define __packed __attribute__((packed))
#endif

#define vdisk_div(a, b) ((u64)(a) / (u64)(b))

#endif /* __KERNEL__ */

/* Integers of a byte string, any alignment. */

static inline u16 vdisk_le16(const void *p)
{
	const u8 *b = p;

	return (u16)(b[0] | b[1] << 8);
}

static inline u32 vdisk_le32(const void *p)
{
	const u8 *b = p;

	return (u32)b[0] | (u32)b[1] << 8 | (u32)b[2] << 16 | (u32)b[3] << 24;
}

static inline u64 vdisk_le64(const void *p)
{
	const u8 *b = p;

	return (u64)vdisk_le32(b) | (u64)vdisk_le32(b + 4) << 32;
}

static inline u16 vdisk_be16(const void *p)
{
	const u8 *b = p;

	return (u16)(b[0] << 8 | b[1]);
}

static inline u32 vdisk_be32(const void *p)
{
	const u8 *b = p;

	return (u32)b[0] << 24 | (u32)b[1] << 16 | (u32)b[2] << 8 | (u32)b[3];
}

static inline u64 vdisk_be64(const void *p)
{
	const u8 *b = p;

	return (u64)vdisk_be32(b) << 32 | (u64)vdisk_be32(b + 4);
}

/* Fields of the on-disk structures, typed so that sparse sees a lost swap. */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define VDISK_LE(bits, v) (v)
#define VDISK_BE(bits, v) __builtin_bswap##bits(v)
#else
#define VDISK_LE(bits, v) __builtin_bswap##bits(v)
#define VDISK_BE(bits, v) (v)
#endif

static inline __le16 to_le16(u64 v)
{
	return (__force __le16)VDISK_LE(16, (u16)v);
}

static inline __le32 to_le32(u64 v)
{
	return (__force __le32)VDISK_LE(32, (u32)v);
}

static inline __le64 to_le64(u64 v)
{
	return (__force __le64)VDISK_LE(64, (u64)v);
}

static inline __be16 to_be16(u64 v)
{
	return (__force __be16)VDISK_BE(16, (u16)v);
}

static inline __be32 to_be32(u64 v)
{
	return (__force __be32)VDISK_BE(32, (u32)v);
}

static inline __be64 to_be64(u64 v)
{
	return (__force __be64)VDISK_BE(64, (u64)v);
}

static inline u16 le16_of(__le16 v)
{
	return vdisk_le16(&v);
}

static inline u32 le32_of(__le32 v)
{
	return vdisk_le32(&v);
}

static inline u64 le64_of(__le64 v)
{
	return vdisk_le64(&v);
}

static inline u16 be16_of(__be16 v)
{
	return vdisk_be16(&v);
}

static inline u32 be32_of(__be32 v)
{
	return vdisk_be32(&v);
}

static inline u64 be64_of(__be64 v)
{
	return vdisk_be64(&v);
}

/*
 * Store the low @width bytes of @v at @p, 8 at most. Not byte by byte: of
 * several such stores to neighbouring fields gcc 12.2 at -O2 loses some.
 */
static inline void vdisk_store(u8 *p, u64 v, u32 width, bool big)
{
	u64 n = big ? VDISK_BE(64, v) : VDISK_LE(64, v);

	memcpy(p, (u8 *)&n + (big ? sizeof(n) - width : 0), width);
}

/* Arithmetic on numbers from disk: true if the result did not fit. */
#define vdisk_add(a, b, sum) __builtin_add_overflow((u64)(a), (u64)(b), (sum))
#define vdisk_mul(a, b, prod) __builtin_mul_overflow((u64)(a), (u64)(b), (prod))

static inline u64 vdisk_min(u64 a, u64 b)
{
	return a < b ? a : b;
}

static inline u64 vdisk_max(u64 a, u64 b)
{
	return a > b ? a : b;
}

static inline bool vdisk_pow2(u64 v)
{
	return v && !(v & (v - 1));
}

static inline u64 vdisk_div_up(u64 a, u64 b)
{
	return a ? vdisk_div(a - 1, b) + 1 : 0;
}

/* The lowest value >= @v that is @base plus a multiple of @align. */
static inline u64 vdisk_align(u64 v, u64 align, u64 base)
{
	if (v <= base)
		return base;
	return base + vdisk_div_up(v - base, align) * align;
}

#endif /* _VDISK_ENV_H */
