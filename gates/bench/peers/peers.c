// SPDX-License-Identifier: GPL-2.0
/*
 * Many events from the kernel by its own means: a relay channel, and generic netlink's multicast.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/relay.h>
#include <linux/uaccess.h>
#include <net/genetlink.h>

/* As much room as the ring has, in two halves, for each CPU. */
#define SUBBUF_SIZE (64 * PAGE_SIZE)
#define SUBBUFS 2
#define LIMIT 256
/* How many events a task has at most: nobody can stop one halfway. */
#define MOST 4096

enum { WAY_RELAY = 4, WAY_NETLINK };

struct task {
	u32 way;
	u32 bytes;
	u64 count;
	u64 number;
	u64 rang;
};

#define PRODUCE _IOWR('B', 0, struct task)

/*
 * Relay, as it is mostly used: each CPU has a buffer, so that who writes needs no lock
 */

static struct dentry *directory;
static struct rchan *channel;

static struct dentry *create_buf_file(const char *filename, struct dentry *parent, umode_t mode,
				      struct rchan_buf *buf, int *is_global)
{
	return debugfs_create_file(filename, mode, parent, buf, &relay_file_operations);
}

static int remove_buf_file(struct dentry *dentry)
{
	debugfs_remove(dentry);
	return 0;
}

/* What has not been read is kept. */
static int subbuf_start(struct rchan_buf *buf, void *subbuf, void *prev_subbuf)
{
	return !relay_buf_full(buf);
}

static const struct rchan_callbacks relay_callbacks = {
	.create_buf_file = create_buf_file,
	.remove_buf_file = remove_buf_file,
	.subbuf_start = subbuf_start,
};

/*
 * Netlink
 */

enum { ATTR_EVENT = 1 };

static const struct genl_multicast_group groups[] = {
	{ .name = "events" },
};

static struct genl_family family = {
	.name = "callgate_peers",
	.version = 1,
	.maxattr = ATTR_EVENT,
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
	.module = THIS_MODULE,
};

static int multicast(const u64 *event, u32 bytes)
{
	struct sk_buff *skb = genlmsg_new(nla_total_size(bytes), GFP_KERNEL);
	void *header;

	if (!skb)
		return -ENOMEM;
	header = genlmsg_put(skb, 0, 0, &family, 0, 1);
	if (!header || nla_put(skb, ATTR_EVENT, bytes, event)) {
		nlmsg_free(skb);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, header);
	return genlmsg_multicast(&family, skb, 0, 0, GFP_KERNEL);
}

/*
 * The device
 */

/* Their number is what the words of an event are. */
static __always_inline void produce(struct task *task, u32 bytes)
{
	u64 event[LIMIT / sizeof(u64)];
	u64 i;
	u32 word;

	for (i = 0; i < task->count; i++) {
		for (word = 0; word < bytes / sizeof(u64); word++)
			event[word] = task->number;
		/* Whether there was room for it, relay does not say. */
		if (task->way == WAY_RELAY)
			relay_write(channel, event, bytes);
		/* Nor does netlink, unless no listener at all had room. */
		else if (multicast(event, bytes))
			break;
		task->number++;
	}
	task->count = i;
}

static long peers_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct task __user *user = (void __user *)arg;
	struct task task;

	if (cmd != PRODUCE)
		return -ENOTTY;
	if (copy_from_user(&task, user, sizeof(task)))
		return -EFAULT;
	if (task.way != WAY_RELAY && task.way != WAY_NETLINK)
		return -EINVAL;
	if (task.count > MOST)
		return -EINVAL;
	switch (task.bytes) {
	case 16:
		produce(&task, 16);
		break;
	case 64:
		produce(&task, 64);
		break;
	case 256:
		produce(&task, 256);
		break;
	default:
		return -EINVAL;
	}
	return copy_to_user(user, &task, sizeof(task)) ? -EFAULT : 0;
}

static const struct file_operations peers_fops = {
	.owner = THIS_MODULE,
	.open = stream_open,
	.unlocked_ioctl = peers_ioctl,
};

static struct miscdevice peers_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate_peers",
	.mode = 0600,
	.fops = &peers_fops,
};

static int __init peers_init(void)
{
	int err = -ENOMEM;

	directory = debugfs_create_dir("callgate_peers", NULL);
	channel = relay_open("events", directory, SUBBUF_SIZE, SUBBUFS, &relay_callbacks, NULL);
	if (!channel)
		goto remove;
	err = genl_register_family(&family);
	if (err)
		goto close;
	err = misc_register(&peers_misc);
	if (err)
		goto unregister;
	return 0;

unregister:
	genl_unregister_family(&family);
close:
	relay_close(channel);
remove:
	debugfs_remove(directory);
	return err;
}

static void __exit peers_exit(void)
{
	misc_deregister(&peers_misc);
	genl_unregister_family(&family);
	relay_close(channel);
	debugfs_remove(directory);
}

module_init(peers_init);
module_exit(peers_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("many events by relay and by netlink, to be measured");
MODULE_LICENSE("GPL");
