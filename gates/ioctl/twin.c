// SPDX-License-Identifier: GPL-2.0
/*
 * module.rs in C, with the same behaviour: what Rust and the library cost is the difference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cdev.h>
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/ratelimit.h>
#include <linux/uaccess.h>

#define MESSAGE_CAPACITY 200

struct message {
	u32 len;
	u8 bytes[MESSAGE_CAPACITY];
};

struct status {
	u32 flags;
	u32 message_len;
	u64 stores;
	u64 loads;
	u64 refused;
};

#define STATUS_SIZE_V0 16
#define STATUS_RESET 1

/* The HOWTO's, whose numbers say four bytes where a string goes. */
#define HOWTO_READ _IOR('G', 0, int)
#define HOWTO_WRITE _IOW('G', 1, int)

#define CLEAR _IO('G', 2)
#define SET _IOW('G', 3, struct message)
#define GET _IOR('G', 4, struct message)
#define EXCHANGE _IOWR('G', 5, struct message)
#define STATUS _IOWR('G', 6, struct status)

static_assert(sizeof(struct message) == 204);
static_assert(sizeof(struct status) == 32);

/* What a device keeps. */
struct store {
	struct mutex lock;
	struct message message;
	u64 stores;
	u64 loads;
	u64 refused;
};

static struct store howto = { .lock = __MUTEX_INITIALIZER(howto.lock) };
static struct store today = { .lock = __MUTEX_INITIALIZER(today.lock) };

static DEFINE_RATELIMIT_STATE(logged, HZ, 10);

static void count_load(struct store *store)
{
	mutex_lock(&store->lock);
	store->loads++;
	mutex_unlock(&store->lock);
}

static void get_stored(struct store *store, struct message *message)
{
	mutex_lock(&store->lock);
	*message = store->message;
	mutex_unlock(&store->lock);
}

/* Gives the message that was stored before, if anybody wants it. */
static void replace(struct store *store, const struct message *new, struct message *old)
{
	mutex_lock(&store->lock);
	if (old)
		*old = store->message;
	store->message = *new;
	store->stores++;
	mutex_unlock(&store->lock);
	if (__ratelimit(&logged))
		pr_info("message stored, %u bytes\n", new->len);
}

/* Reads a message that the user made, of which only the first bytes count. */
static int read_message(struct message *message, const void __user *arg)
{
	if (copy_from_user(message, arg, sizeof(*message)))
		return -EFAULT;
	if (message->len > MESSAGE_CAPACITY)
		return -EINVAL;
	memset(message->bytes + message->len, 0, MESSAGE_CAPACITY - message->len);
	return 0;
}

static int do_read(struct store *store, void __user *arg)
{
	struct message message;

	get_stored(store, &message);
	if (message.len >= MESSAGE_CAPACITY)
		return -EMSGSIZE;
	message.bytes[message.len] = 0;
	if (copy_to_user(arg, message.bytes, message.len + 1))
		return -EFAULT;
	count_load(store);
	return 0;
}

static int do_write(struct store *store, const void __user *arg)
{
	struct message message = {};
	long len = strncpy_from_user(message.bytes, arg, MESSAGE_CAPACITY);

	if (len < 0)
		return len;
	if (len == MESSAGE_CAPACITY)
		return -EINVAL;
	message.len = len;
	replace(store, &message, NULL);
	return 0;
}

static int do_clear(struct store *store)
{
	mutex_lock(&store->lock);
	memset(&store->message, 0, sizeof(store->message));
	store->stores = 0;
	store->loads = 0;
	store->refused = 0;
	mutex_unlock(&store->lock);
	return 0;
}

static int do_set(struct store *store, const void __user *arg)
{
	struct message message;
	int err = read_message(&message, arg);

	if (err)
		return err;
	replace(store, &message, NULL);
	return 0;
}

static int do_get(struct store *store, void __user *arg)
{
	struct message message;

	get_stored(store, &message);
	if (copy_to_user(arg, &message, sizeof(message)))
		return -EFAULT;
	count_load(store);
	return 0;
}

static int do_exchange(struct store *store, void __user *arg)
{
	struct message message, old;
	int err = read_message(&message, arg);

	if (err)
		return err;
	replace(store, &message, &old);
	if (copy_to_user(arg, &old, sizeof(old)))
		return -EFAULT;
	count_load(store);
	return 0;
}

static int do_status(struct store *store, void __user *arg, size_t size)
{
	struct status status;
	int err;

	if (size < STATUS_SIZE_V0)
		return -EINVAL;
	err = copy_struct_from_user(&status, sizeof(status), arg, size);
	if (err)
		return err;
	if (status.flags & ~STATUS_RESET || status.message_len || status.stores || status.loads ||
	    status.refused)
		return -EINVAL;

	mutex_lock(&store->lock);
	status.message_len = store->message.len;
	status.stores = store->stores;
	status.loads = store->loads;
	status.refused = store->refused;
	if (status.flags & STATUS_RESET) {
		store->stores = 0;
		store->loads = 0;
		store->refused = 0;
	}
	mutex_unlock(&store->lock);
	status.flags = 0;
	return copy_struct_to_user(arg, size, &status, sizeof(status), NULL);
}

static int carry_out(struct store *store, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case HOWTO_READ:
		return do_read(store, arg);
	case HOWTO_WRITE:
		return do_write(store, arg);
	case CLEAR:
		return do_clear(store);
	case SET:
		return do_set(store, arg);
	case GET:
		return do_get(store, arg);
	case EXCHANGE:
		return do_exchange(store, arg);
	}
	if ((cmd & ~IOCSIZE_MASK) == (STATUS & ~IOCSIZE_MASK))
		return do_status(store, arg, _IOC_SIZE(cmd));
	return -ENOTTY;
}

static long store_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct store *store = file->private_data;
	int err = carry_out(store, cmd, (void __user *)arg);

	if (err) {
		mutex_lock(&store->lock);
		store->refused++;
		mutex_unlock(&store->lock);
	}
	return err;
}

static int open_howto(struct inode *inode, struct file *file)
{
	file->private_data = &howto;
	return 0;
}

static int open_today(struct inode *inode, struct file *file)
{
	file->private_data = &today;
	return 0;
}

static const struct file_operations howto_fops = {
	.owner = THIS_MODULE,
	.open = open_howto,
	.unlocked_ioctl = store_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static const struct file_operations today_fops = {
	.owner = THIS_MODULE,
	.open = open_today,
	.unlocked_ioctl = store_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice today_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate_ioctl",
	.mode = 0660,
	.fops = &today_fops,
};

static dev_t howto_dev;
static struct cdev howto_cdev;

static int __init ioctl_init(void)
{
	int err = alloc_chrdev_region(&howto_dev, 0, 1, "my_device");

	if (err)
		return err;
	cdev_init(&howto_cdev, &howto_fops);
	howto_cdev.owner = THIS_MODULE;
	err = cdev_add(&howto_cdev, howto_dev, 1);
	if (err)
		goto unregister;
	pr_info("cdev example: assigned major: %d\n", MAJOR(howto_dev));
	pr_info("create node with mknod /dev/cdev_example c %d 0\n", MAJOR(howto_dev));
	err = misc_register(&today_misc);
	if (err)
		goto delete;
	return 0;

delete:
	cdev_del(&howto_cdev);
unregister:
	unregister_chrdev_region(howto_dev, 1);
	return err;
}

static void __exit ioctl_exit(void)
{
	misc_deregister(&today_misc);
	cdev_del(&howto_cdev);
	unregister_chrdev_region(howto_dev, 1);
}

module_init(ioctl_init);
module_exit(ioctl_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("ioctl: typed commands on an open file");
MODULE_LICENSE("GPL");
