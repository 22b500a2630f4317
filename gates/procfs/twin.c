// SPDX-License-Identifier: GPL-2.0
/*
 * module.rs in C, with the same behaviour: what Rust and the library cost is the difference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/namei.h>
#include <linux/proc_fs.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/string_helpers.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#define FIRST_LIMIT 1024
#define SECOND_LIMIT (1 << 16)

/* Reads from a file whose whole contents are these. */
static ssize_t read_bytes(struct kiocb *iocb, struct iov_iter *to, const void *bytes, size_t size)
{
	loff_t pos = iocb->ki_pos;
	size_t copied;

	if (pos < 0)
		return -EINVAL;
	if (pos >= size || !iov_iter_count(to))
		return 0;
	copied = copy_to_iter(bytes + pos, size - pos, to);
	if (!copied)
		return -EFAULT;
	iocb->ki_pos = pos + copied;
	return copied;
}

/* The HOWTO's file. */

static const char first_name[] = "first";
static const char first_data[] = "first file private data";
static const char first_text[] = "hello world: first file private data\n";

static int first_open(struct inode *inode, struct file *file)
{
	/* The VFS does this for regular files on a disk only. */
	file->f_mode |= FMODE_ATOMIC_POS;
	return 0;
}

static ssize_t first_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	return read_bytes(iocb, to, first_text, sizeof(first_text) - 1);
}

/* Logs what it gets, and keeps nothing of it. */
static ssize_t first_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	char *received __free(kfree) = NULL;
	char *line __free(kfree) = NULL;
	size_t len = size;

	if (!size)
		return 0;
	if (size > FIRST_LIMIT)
		return -EINVAL;
	received = memdup_user(buf, size);
	if (IS_ERR(received))
		return PTR_ERR(received);
	if (received[len - 1] == '\n')
		len--;

	/* Shown with escapes, so that nobody makes up lines of the log. */
	line = kmalloc(4 * len + 1, GFP_KERNEL);
	if (!line)
		return -ENOMEM;
	len = string_escape_mem(received, len, line, 4 * len,
				ESCAPE_NAP | ESCAPE_SPACE | ESCAPE_HEX, NULL);
	line[len] = 0;
	pr_info("write_%s received data: %s\n", first_name, line);
	pr_info("%s filename %s\n", first_name, first_name);
	pr_info("write_%s data %s\n", first_name, first_data);
	return size;
}

static loff_t first_lseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, sizeof(first_text) - 1);
}

static const struct proc_ops first_ops = {
	.proc_open = first_open,
	.proc_read_iter = first_read_iter,
	.proc_write = first_write,
	.proc_lseek = first_lseek,
};

/* The file that keeps what is written. */

/* A value that never changes again: a write makes another one. NULL has no bytes. */
struct value {
	refcount_t users;
	size_t len;
	u8 bytes[];
};

static DEFINE_MUTEX(second_lock);
static struct value *second_value;

/* How the second file looks through one open file. */
struct view {
	struct mutex lock;
	/* What is being read, if anything is. */
	bool reading;
	struct value *value;
	/* It looks empty; the value goes when the next one comes, or when the file is closed. */
	bool truncated;
};

static size_t length(const struct value *value)
{
	return value ? value->len : 0;
}

static struct value *get(struct value *value)
{
	if (value)
		refcount_inc(&value->users);
	return value;
}

static void put(struct value *value)
{
	if (value && refcount_dec_and_test(&value->users))
		kvfree(value);
}

static void stop_reading(struct view *view)
{
	put(view->value);
	view->value = NULL;
	view->reading = false;
}

/* What is to be read: what was read before, or the value of this moment. */
static struct value *get_viewed(struct view *view, bool from_start)
{
	struct value *value;

	mutex_lock(&view->lock);
	if (from_start)
		stop_reading(view);
	if (!view->reading) {
		if (!view->truncated) {
			mutex_lock(&second_lock);
			view->value = get(second_value);
			mutex_unlock(&second_lock);
		}
		view->reading = true;
	}
	value = get(view->value);
	mutex_unlock(&view->lock);
	return value;
}

/* Makes the value that has these bytes from start on, and the old ones elsewhere. */
static struct value *overwrite(const struct value *old, size_t start, const u8 *bytes, size_t len)
{
	size_t old_len = length(old), end = start + len;
	struct value *new;

	new = kvmalloc_flex(*new, bytes, max(old_len, end));
	if (!new)
		return NULL;
	refcount_set(&new->users, 1);
	new->len = max(old_len, end);
	if (old_len)
		memcpy(new->bytes, old->bytes, min(old_len, start));
	if (old_len < start)
		memset(new->bytes + old_len, 0, start - old_len);
	memcpy(new->bytes + start, bytes, len);
	if (old_len > end)
		memcpy(new->bytes + end, old->bytes + end, old_len - end);
	return new;
}

static int second_open(struct inode *inode, struct file *file)
{
	struct view *view = kzalloc_obj(*view);

	if (!view)
		return -ENOMEM;
	mutex_init(&view->lock);
	view->truncated = file->f_flags & O_TRUNC;
	file->private_data = view;
	file->f_mode |= FMODE_ATOMIC_POS;
	return 0;
}

static int second_release(struct inode *inode, struct file *file)
{
	struct view *view = file->private_data;

	if (view->truncated) {
		mutex_lock(&second_lock);
		put(second_value);
		second_value = NULL;
		mutex_unlock(&second_lock);
	}
	put(view->value);
	kfree(view);
	return 0;
}

static ssize_t second_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct value *value = get_viewed(iocb->ki_filp->private_data, !iocb->ki_pos);
	ssize_t len = read_bytes(iocb, to, value ? value->bytes : NULL, length(value));

	put(value);
	return len;
}

/*
 * Puts the bytes where the position is, all or none. If that is behind the end, there are zeroes in
 * between.
 */
static ssize_t second_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct view *view = file->private_data;
	struct value *old, *new;
	size_t start;
	ssize_t ret;
	u8 *part;

	if (!len)
		return 0;
	if (len > SECOND_LIMIT)
		return -EFBIG;
	part = vmemdup_user(buf, len);
	if (IS_ERR(part))
		return PTR_ERR(part);

	mutex_lock(&view->lock);
	mutex_lock(&second_lock);
	old = view->truncated ? NULL : second_value;
	start = file->f_flags & O_APPEND ? length(old) : *pos;
	ret = -EFBIG;
	if (start > SECOND_LIMIT - len)
		goto unlock;
	ret = -ENOMEM;
	new = overwrite(old, start, part, len);
	if (!new)
		goto unlock;
	put(second_value);
	second_value = new;
	view->truncated = false;
	stop_reading(view);
	*pos = start + len;
	ret = len;
unlock:
	mutex_unlock(&second_lock);
	mutex_unlock(&view->lock);
	kvfree(part);
	return ret;
}

static loff_t second_lseek(struct file *file, loff_t offset, int whence)
{
	struct value *value = get_viewed(file->private_data, false);
	size_t len = length(value);

	put(value);
	return generic_file_llseek_size(file, offset, whence, SECOND_LIMIT, len);
}

static const struct proc_ops second_ops = {
	.proc_open = second_open,
	.proc_release = second_release,
	.proc_read_iter = second_read_iter,
	.proc_write = second_write,
	.proc_lseek = second_lseek,
};

static struct proc_dir_entry *directory;

static int __init procfs_init(void)
{
	struct path path;

	/* proc_mkdir() would warn of it. */
	if (!kern_path("/proc/example", 0, &path)) {
		path_put(&path);
		return -EEXIST;
	}
	directory = proc_mkdir("example", NULL);
	if (!directory)
		return -ENOMEM;
	if (!proc_create(first_name, 0644, directory, &first_ops) ||
	    !proc_create("second", 0644, directory, &second_ops)) {
		proc_remove(directory);
		put(second_value);
		return -ENOMEM;
	}
	return 0;
}

static void __exit procfs_exit(void)
{
	/* Waits for those who are inside, and releases the files that are open. */
	proc_remove(directory);
	put(second_value);
}

module_init(procfs_init);
module_exit(procfs_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("procfs: a file that talks and a file that keeps, in /proc/example");
MODULE_LICENSE("GPL");
