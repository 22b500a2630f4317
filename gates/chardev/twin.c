// SPDX-License-Identifier: GPL-2.0
/*
 * module.rs in C, with the same behaviour: what Rust and the library cost is the difference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/wait.h>

#define MESSAGE_CAPACITY 200
#define PIPE_CAPACITY 4096

/* The HOWTO's device. */

struct text {
	u8 bytes[MESSAGE_CAPACITY];
	size_t len;
};

static DEFINE_MUTEX(message_lock);
static struct text message;

static int message_open(struct inode *inode, struct file *file)
{
	/* The VFS does this for regular files and directories only. */
	file->f_mode |= FMODE_ATOMIC_POS;
	return 0;
}

static ssize_t message_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct text text;
	loff_t pos = iocb->ki_pos;
	size_t copied;

	/* Copied first: to write user memory may take as long as the user likes. */
	mutex_lock(&message_lock);
	text = message;
	mutex_unlock(&message_lock);

	if (pos < 0)
		return -EINVAL;
	if (pos >= text.len || !iov_iter_count(to))
		return 0;
	copied = copy_to_iter(text.bytes + pos, text.len - pos, to);
	if (!copied)
		return -EFAULT;
	iocb->ki_pos = pos + copied;
	return copied;
}

/* Replaces the whole message, wherever the file position is. */
static ssize_t message_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	u8 bytes[MESSAGE_CAPACITY];
	size_t len = iov_iter_count(from);

	if (!len)
		return 0;
	if (len >= MESSAGE_CAPACITY)
		return -EINVAL;
	if (!copy_from_iter_full(bytes, len, from))
		return -EFAULT;

	mutex_lock(&message_lock);
	memcpy(message.bytes, bytes, len);
	message.len = len;
	mutex_unlock(&message_lock);
	/* The next read on this file starts at the beginning of what was written. */
	iocb->ki_pos = 0;
	return len;
}

static loff_t message_llseek(struct file *file, loff_t offset, int whence)
{
	size_t len;

	mutex_lock(&message_lock);
	len = message.len;
	mutex_unlock(&message_lock);
	return fixed_size_llseek(file, offset, whence, len);
}

static const struct file_operations message_fops = {
	.owner = THIS_MODULE,
	.open = message_open,
	.read_iter = message_read_iter,
	.write_iter = message_write_iter,
	.llseek = message_llseek,
};

/* Today's device. */

/*
 * The pipe that all who open the device share. Bytes leave it only once they have been copied to
 * the user, without the lock; meanwhile "reader" is set, and keeps other readers out.
 */
static struct {
	struct mutex lock;
	wait_queue_head_t changed;
	u8 bytes[PIPE_CAPACITY];
	size_t len;
	bool reader;
	unsigned int opens;
	bool exclusive;
} fifo = {
	.lock = __MUTEX_INITIALIZER(fifo.lock),
	.changed = __WAIT_QUEUE_HEAD_INITIALIZER(fifo.changed),
};

struct opened {
	bool exclusive;
	atomic64_t read;
	atomic64_t written;
};

static bool is_readable(void)
{
	return !READ_ONCE(fifo.reader) && READ_ONCE(fifo.len) > 0;
}

static bool is_writable(void)
{
	return READ_ONCE(fifo.len) < PIPE_CAPACITY;
}

static bool is_nonblocking(struct kiocb *iocb)
{
	return iocb->ki_flags & IOCB_NOWAIT || iocb->ki_filp->f_flags & O_NONBLOCK;
}

/* Copies the oldest bytes, and keeps other readers out until fifo_end_read(). */
static ssize_t fifo_begin_read(struct kiocb *iocb, u8 *buf, size_t size)
{
	size_t len;

	mutex_lock(&fifo.lock);
	while (!is_readable()) {
		mutex_unlock(&fifo.lock);
		if (is_nonblocking(iocb))
			return -EAGAIN;
		if (wait_event_interruptible(fifo.changed, is_readable()))
			return -ERESTARTSYS;
		mutex_lock(&fifo.lock);
	}
	fifo.reader = true;
	len = min(size, fifo.len);
	memcpy(buf, fifo.bytes, len);
	mutex_unlock(&fifo.lock);
	return len;
}

/* Takes the bytes out that the user has got. */
static void fifo_end_read(size_t copied)
{
	mutex_lock(&fifo.lock);
	memmove(fifo.bytes, fifo.bytes + copied, fifo.len - copied);
	fifo.len -= copied;
	fifo.reader = false;
	mutex_unlock(&fifo.lock);
	wake_up_interruptible(&fifo.changed);
}

/* Adds as much as there is room for, once there is any, and returns how much. */
static ssize_t fifo_put(struct kiocb *iocb, const u8 *buf, size_t size)
{
	size_t len;

	mutex_lock(&fifo.lock);
	while (!is_writable()) {
		mutex_unlock(&fifo.lock);
		if (is_nonblocking(iocb))
			return -EAGAIN;
		if (wait_event_interruptible(fifo.changed, is_writable()))
			return -ERESTARTSYS;
		mutex_lock(&fifo.lock);
	}
	len = min(size, PIPE_CAPACITY - fifo.len);
	memcpy(fifo.bytes + fifo.len, buf, len);
	fifo.len += len;
	mutex_unlock(&fifo.lock);
	wake_up_interruptible(&fifo.changed);
	return len;
}

static int pipe_open(struct inode *inode, struct file *file)
{
	bool exclusive = file->f_flags & O_EXCL;
	struct opened *opened;

	opened = kzalloc_obj(*opened);
	if (!opened)
		return -ENOMEM;
	opened->exclusive = exclusive;

	mutex_lock(&fifo.lock);
	if (fifo.exclusive || (exclusive && fifo.opens)) {
		mutex_unlock(&fifo.lock);
		kfree(opened);
		return -EBUSY;
	}
	fifo.opens++;
	fifo.exclusive = exclusive;
	mutex_unlock(&fifo.lock);

	file->private_data = opened;
	return stream_open(inode, file);
}

static int pipe_release(struct inode *inode, struct file *file)
{
	struct opened *opened = file->private_data;

	mutex_lock(&fifo.lock);
	fifo.opens--;
	if (opened->exclusive)
		fifo.exclusive = false;
	mutex_unlock(&fifo.lock);
	kfree(opened);
	return 0;
}

/* Waits for the first byte, and returns what is there. */
static ssize_t pipe_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct opened *opened = iocb->ki_filp->private_data;
	size_t size = min(iov_iter_count(to), PIPE_CAPACITY);
	size_t copied;
	ssize_t len;
	u8 *buf;

	if (!size)
		return 0;
	buf = kmalloc(size, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;

	len = fifo_begin_read(iocb, buf, size);
	if (len < 0)
		goto out;
	copied = copy_to_iter(buf, len, to);
	fifo_end_read(copied);
	if (!copied) {
		len = -EFAULT;
		goto out;
	}
	atomic64_add(copied, &opened->read);
	len = copied;
out:
	kfree(buf);
	return len;
}

/* Waits for room until everything is written. What finds room at once goes in as one piece. */
static ssize_t pipe_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct opened *opened = iocb->ki_filp->private_data;
	size_t size = min(iov_iter_count(from), PIPE_CAPACITY);
	size_t start = 0, end = 0;
	size_t written = 0;
	ssize_t len = 0;
	u8 *buf;

	if (!size)
		return 0;
	buf = kmalloc(size, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;

	while (start < end || iov_iter_count(from)) {
		if (start == end) {
			start = 0;
			end = copy_from_iter(buf, size, from);
			if (!end) {
				len = -EFAULT;
				break;
			}
		}
		len = fifo_put(iocb, buf + start, end - start);
		if (len < 0)
			break;
		atomic64_add(len, &opened->written);
		written += len;
		start += len;
	}
	kfree(buf);
	/* What has been written cannot be taken back. */
	return written ?: len;
}

static __poll_t pipe_poll(struct file *file, poll_table *wait)
{
	__poll_t ready = 0;

	poll_wait(file, &fifo.changed, wait);
	mutex_lock(&fifo.lock);
	if (is_readable() && file->f_mode & FMODE_READ)
		ready |= EPOLLIN | EPOLLRDNORM;
	if (is_writable() && file->f_mode & FMODE_WRITE)
		ready |= EPOLLOUT | EPOLLWRNORM;
	mutex_unlock(&fifo.lock);
	return ready;
}

static void pipe_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct opened *opened = file->private_data;

	seq_printf(m, "callgate_read:\t%lld\n", atomic64_read(&opened->read));
	seq_printf(m, "callgate_written:\t%lld\n", atomic64_read(&opened->written));
}

static const struct file_operations pipe_fops = {
	.owner = THIS_MODULE,
	.open = pipe_open,
	.release = pipe_release,
	.read_iter = pipe_read_iter,
	.write_iter = pipe_write_iter,
	.poll = pipe_poll,
	.show_fdinfo = pipe_show_fdinfo,
};

static struct miscdevice pipe_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate_chardev",
	.mode = 0660,
	.fops = &pipe_fops,
};

static dev_t howto_dev;
static struct cdev howto_cdev;

static int __init chardev_init(void)
{
	int err = alloc_chrdev_region(&howto_dev, 0, 1, "my_device");

	if (err)
		return err;
	cdev_init(&howto_cdev, &message_fops);
	howto_cdev.owner = THIS_MODULE;
	err = cdev_add(&howto_cdev, howto_dev, 1);
	if (err)
		goto unregister;
	pr_info("cdev example: assigned major: %d\n", MAJOR(howto_dev));
	pr_info("create node with mknod /dev/cdev_example c %d 0\n", MAJOR(howto_dev));
	err = misc_register(&pipe_misc);
	if (err)
		goto delete;
	return 0;

delete:
	cdev_del(&howto_cdev);
unregister:
	unregister_chrdev_region(howto_dev, 1);
	return err;
}

static void __exit chardev_exit(void)
{
	misc_deregister(&pipe_misc);
	cdev_del(&howto_cdev);
	unregister_chrdev_region(howto_dev, 1);
}

module_init(chardev_init);
module_exit(chardev_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("character device: read, write, poll and lseek on a node in /dev");
MODULE_LICENSE("GPL");
