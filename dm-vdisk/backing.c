// SPDX-License-Identifier: GPL-2.0
/* Opening backings, and who may use a file at the same time. */
#include "vdisk.h"
#include "compat.h"
#include "submitter.h"

#include <linux/file.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/stat.h>

#define TOUCH_EVERY (60 * HZ)	/* times are set no more often while it runs */

/*
 * A file that a table uses. While a new table of a device is loaded, both its
 * tables hold the same file: that is no conflict, they never run together. Two
 * targets of one table do, and so do two devices.
 */
struct file_claim {
	struct list_head link;
	const struct inode *inode;
	dev_t rdev;
	const struct mapped_device *md;
	const struct dm_target *ti;
	bool write;
	unsigned int heritage;		/* enum vdisk_backing_heritage */
};

static DEFINE_MUTEX(claims_lock);	/* protects file_claims and its members */
static LIST_HEAD(file_claims);

static bool same_file(const struct file_claim *c, const struct vdisk_backing *b)
{
	return c->inode == b->inode && c->rdev == b->rdev;
}

/* Does @c belong to another table of the device that @b is for? */
static bool other_table(const struct file_claim *c,
			const struct vdisk_backing *b)
{
	return c->md == dm_table_get_md(b->v->ti->table) &&
	       c->ti->table != b->v->ti->table;
}

static int claim_take(struct vdisk_backing *b)
{
	struct file_claim *c, *new = kzalloc(sizeof(*new), GFP_KERNEL);
	int r = 0;

	if (!new)
		return -ENOMEM;
	new->inode = b->inode;
	new->rdev = b->rdev;
	new->md = dm_table_get_md(b->v->ti->table);
	new->ti = b->v->ti;
	new->write = b->write;
	mutex_lock(&claims_lock);
	list_for_each_entry(c, &file_claims, link)
		if (same_file(c, b) && !other_table(c, b) &&
		    (b->write || c->write))
			r = -EBUSY;
	if (!r) {
		list_add(&new->link, &file_claims);
		b->claim = new;
		b->users = 1;
	}
	mutex_unlock(&claims_lock);
	if (r)
		kfree(new);
	return r;
}

static void claim_drop(struct vdisk_backing *b)
{
	mutex_lock(&claims_lock);
	list_del(&b->claim->link);
	mutex_unlock(&claims_lock);
	kfree(b->claim);
	b->claim = NULL;
}

bool vdisk_backing_handed_over(const struct vdisk_backing *b)
{
	struct file_claim *c;
	bool r = false;

	mutex_lock(&claims_lock);
	list_for_each_entry(c, &file_claims, link)
		r |= same_file(c, b) && other_table(c, b) && c->write;
	mutex_unlock(&claims_lock);
	return r;
}

void vdisk_backing_bequeath(struct vdisk_backing *b, unsigned int heritage)
{
	mutex_lock(&claims_lock);
	b->claim->heritage = heritage;
	mutex_unlock(&claims_lock);
}

unsigned int vdisk_backing_inherit(const struct vdisk_backing *b)
{
	struct file_claim *c;
	unsigned int r = 0;

	mutex_lock(&claims_lock);
	list_for_each_entry(c, &file_claims, link)
		if (same_file(c, b) && other_table(c, b))
			r |= c->heritage;
	mutex_unlock(&claims_lock);
	return r;
}

u64 vdisk_backing_len(const struct vdisk_backing *b)
{
	if (b->dev)
		return bdev_nr_bytes(b->dev->bdev);
	return i_size_read(file_inode(b->file));
}

void vdisk_backing_unsure(struct vdisk_backing *b)
{
	/* Test first: the line stays shared while many CPUs write. */
	if (!test_bit(VDISK_BACKING_WRITTEN, &b->flags))
		set_bit(VDISK_BACKING_WRITTEN, &b->flags);
}

void vdisk_backing_wrote(struct vdisk_backing *b)
{
	vdisk_backing_unsure(b);
	if (!test_bit(VDISK_BACKING_CHANGED, &b->flags))
		set_bit(VDISK_BACKING_CHANGED, &b->flags);
}

int vdisk_backing_flush(struct vdisk_backing *b)
{
	int r = 0;

	/* Whoever finds the bit clear has waited for the flush that cleared it. */
	mutex_lock(&b->flush_lock);
	if (READ_ONCE(b->v->failed)) {
		r = -EIO;
	} else if (test_and_clear_bit(VDISK_BACKING_WRITTEN, &b->flags)) {
		vdisk_count(b->v, fsync);
		r = b->ops->flush(b);
		if (r)
			vdisk_trip(b->v, "flush-failed");
	}
	mutex_unlock(&b->flush_lock);
	return r;
}

void vdisk_backing_start(struct vdisk_backing *b)
{
	WRITE_ONCE(b->len, vdisk_backing_len(b));
	if (b->file && b->direct)
		invalidate_mapping_pages(b->file->f_mapping, 0, -1);
}

void vdisk_backing_stop(struct vdisk_backing *b)
{
	if (b->dev && !b->file)
		invalidate_bdev(b->dev->bdev);
}

/* As vdisk_backing_touch(), the file system being held from freezing. */
static void set_times(struct vdisk_backing *b)
{
	struct vdisk_aside aside;

	/* First: what is written from now on is for the next time. */
	clear_bit(VDISK_BACKING_CHANGED, &b->flags);
	b->touched = jiffies | 1;
	vdisk_aside_begin(&aside);
	b->file->f_mode &= ~FMODE_NOCMTIME;
	file_update_time(b->file);
	b->file->f_mode |= FMODE_NOCMTIME;
	vdisk_aside_end(&aside);
}

void vdisk_backing_touch(struct vdisk_backing *b, bool settle)
{
	struct super_block *sb;

	if (!b->file || b->device || !b->write)
		return;
	sb = file_inode(b->file)->i_sb;
	mutex_lock(&b->flush_lock);
	if (test_bit(VDISK_BACKING_CHANGED, &b->flags) &&
	    (settle || !b->touched ||
	     time_after(jiffies, b->touched + TOUCH_EVERY))) {
		if (settle)
			sb_start_write(sb);
		if (settle || sb_start_write_trylock(sb)) {
			set_times(b);
			sb_end_write(sb);
		}
	}
	mutex_unlock(&b->flush_lock);
}

/* Does direct I/O take any sector, from any memory a bio may have? */
static bool can_direct(struct file *file)
{
	struct kstat st = { };

	if (!(file->f_mode & FMODE_CAN_ODIRECT))
		return false;
	if (vfs_getattr(&file->f_path, &st, STATX_DIOALIGN,
			AT_STATX_SYNC_AS_STAT))
		return false;
	return st.result_mask & STATX_DIOALIGN && st.dio_offset_align &&
	       st.dio_offset_align <= VDISK_SECTOR &&
	       st.dio_mem_align <= VDISK_SECTOR;
}

/* The name for `dmsetup table`: of the file, or of the device's node. */
static int set_path(struct vdisk_backing *b, char **error)
{
	char *buf = (char *)__get_free_page(GFP_KERNEL);
	char *path;
	int r = 0;

	*error = "Cannot allocate backing";
	if (!buf)
		return -ENOMEM;
	path = file_path(b->file, buf, PAGE_SIZE);
	if (IS_ERR(path)) {
		*error = "Path of the backing is too long";
		r = PTR_ERR(path);
	} else {
		b->path = kstrdup(path, GFP_KERNEL);
		if (!b->path)
			r = -ENOMEM;
	}
	free_page((unsigned long)buf);
	return r;
}

static int open_device(struct vdisk_backing *b, char **error)
{
	blk_mode_t mode = BLK_OPEN_READ | (b->write ? BLK_OPEN_WRITE : 0);
	char name[24];
	int r;

	snprintf(name, sizeof(name), "%u:%u", MAJOR(b->rdev), MINOR(b->rdev));
	r = dm_get_device(b->v->ti, name, mode, &b->dev);
	if (r) {
		b->dev = NULL;
		*error = "Device lookup failed";
		return r;
	}
	b->device = true;
	b->direct = !b->v->args.buffered &&
		    bdev_logical_block_size(b->dev->bdev) <= VDISK_SECTOR;
	if (!b->direct)
		return 0;
	/* Bios go straight down; the file served only to find the device. */
	fput(b->file);
	b->file = NULL;
	return 0;
}

static int open_regular(struct vdisk_backing *b, char **error)
{
	*error = "File system cannot read or write in the kernel";
	if (!b->file->f_op->read_iter ||
	    (b->write && !b->file->f_op->write_iter))
		return -EINVAL;
	/* A descriptor is text of any length: no sectors to write. */
	b->direct = !b->v->args.buffered && b->use != VDISK_USE_STAMP &&
		    can_direct(b->file);
	/*
	 * A new time for each write would be a journal transaction for each
	 * write: vdisk_backing_touch() sets it when the device rests. And who
	 * reads the disk has not read the file.
	 */
	b->file->f_mode |= FMODE_NOCMTIME;
	spin_lock(&b->file->f_lock);
	b->file->f_flags |= O_NOATIME;
	spin_unlock(&b->file->f_lock);
	return 0;
}

/* Our own open file, so that nobody else sees what we do to its flags. */
static int open_file(struct vdisk_backing *b, const char *name, char **error)
{
	int flags = (b->write ? O_RDWR : O_RDONLY) | O_LARGEFILE;
	struct file *file;
	unsigned int fd;
	char dummy;

	if (strncmp(name, "fd:", 3)) {
		file = filp_open(name, flags | O_NONBLOCK, 0);
		*error = "Cannot open the backing";
	} else {
		*error = "Invalid descriptor";
		if (sscanf(name + 3, "%u%c", &fd, &dummy) != 1)
			return -EINVAL;
		b->held = fget(fd);
		if (!b->held)
			return -EBADF;
		*error = "Descriptor is not open for writing";
		if (b->write && !(b->held->f_mode & FMODE_WRITE))
			return -EBADF;
		*error = "Cannot open the backing";
		file = dentry_open(&b->held->f_path, flags, current_cred());
	}
	if (IS_ERR(file))
		return PTR_ERR(file);
	b->file = file;
	b->wb_err = filemap_sample_wb_err(file->f_mapping);
	return 0;
}

static struct vdisk_backing *find_open(const struct vdisk_backing *b)
{
	struct vdisk_backing *o;

	list_for_each_entry(o, &b->v->backings, link)
		if (o->inode == b->inode && o->rdev == b->rdev)
			return o;
	return NULL;
}

static int identify(struct vdisk_backing *b, char **error)
{
	struct inode *inode = file_inode(b->file);

	if (S_ISREG(inode->i_mode)) {
		b->inode = inode;
		return 0;
	}
	if (S_ISBLK(inode->i_mode)) {
		b->rdev = inode->i_rdev;
		return 0;
	}
	*error = "Backing is neither a file nor a block device";
	return -EINVAL;
}

static int open_backing(struct vdisk_backing *b, const char *name,
			struct vdisk_backing **same, char **error)
{
	int r;

	r = open_file(b, name, error);
	if (!r)
		r = identify(b, error);
	if (r)
		return r;
	*same = find_open(b);
	if (*same) {
		if (b->use == VDISK_USE_STAMP ||
		    (b->use == VDISK_USE_RAW && (*same)->use == VDISK_USE_RAW))
			return 0;
		*error = "The same file appears twice";
		return -EBUSY;
	}
	*error = "File is in use by another vdisk device";
	r = claim_take(b);
	if (r)
		return r;
	r = set_path(b, error);
	if (r)
		return r;
	r = b->inode ? open_regular(b, error) : open_device(b, error);
	b->ops = b->file ? &vdisk_backing_file_ops : &vdisk_backing_bdev_ops;
	return r;
}

static void backing_release(struct vdisk_backing *b)
{
	if (b->dev)
		dm_put_device(b->v->ti, b->dev);
	if (b->claim)
		claim_drop(b);
	if (b->file)
		fput(b->file);
	if (b->held)
		fput(b->held);
	kfree(b->path);
	kfree(b);
}

struct vdisk_backing *vdisk_backing_open(struct vdisk *v, const char *name,
					 bool write, enum vdisk_backing_use use,
					 char **error)
{
	struct vdisk_backing *b, *same = NULL;
	int r;

	*error = "Cannot allocate backing";
	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b)
		return ERR_PTR(-ENOMEM);
	b->v = v;
	b->write = write;
	b->use = use;
	mutex_init(&b->flush_lock);
	r = open_backing(b, name, &same, error);
	if (!r && !same) {
		list_add_tail(&b->link, &v->backings);
		return b;
	}
	if (r)
		DMERR("%s: %s: %d", name, *error, r);
	backing_release(b);
	if (r)
		return ERR_PTR(r);
	if (write && !same->write) {
		*error = "The same file appears read-only below";
		return ERR_PTR(-EBUSY);
	}
	same->users++;
	return same;
}

void vdisk_backing_close(struct vdisk_backing *b)
{
	if (--b->users)
		return;
	list_del(&b->link);
	backing_release(b);
}
