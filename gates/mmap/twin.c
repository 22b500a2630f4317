// SPDX-License-Identifier: GPL-2.0
/*
 * module.rs in C, with the same behaviour: what Rust and the library cost is the difference. The rings
 * are those of user/src/ring.rs.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define GREETING "hello from kernel this is file: mmap_example"
#define SHARED_PAGES 4

/* What is written to the channel to say that a ring has changed. */
#define RING 1
#define MESSAGE_LIMIT 4096
#define WORD sizeof(u64)
#define PAGE_WORDS (PAGE_SIZE / WORD)
#define RING_WORDS (16 * PAGE_WORDS)

static_assert(PAGE_SIZE == 4096);

/*
 * Memory that is mapped.
 */

struct area {
	void *memory;
	unsigned long nr_pages;
	struct page *pages[] __counted_by(nr_pages);
};

static struct area *area_new(unsigned long nr_pages)
{
	struct area *area = kvmalloc(struct_size(area, pages, nr_pages), GFP_KERNEL);
	unsigned long i;

	if (!area)
		return NULL;
	area->nr_pages = nr_pages;
	/* User space decides how often this fails: no trace in the log. */
	area->memory = __vmalloc(nr_pages * PAGE_SIZE,
				 GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
	if (!area->memory) {
		kvfree(area);
		return NULL;
	}
	for (i = 0; i < nr_pages; i++)
		area->pages[i] = vmalloc_to_page(area->memory + i * PAGE_SIZE);
	return area;
}

static void area_free(struct area *area)
{
	if (!area)
		return;
	vfree(area->memory);
	kvfree(area);
}

static vm_fault_t area_fault(struct vm_fault *vmf)
{
	struct area *area = vmf->vma->vm_private_data;

	if (vmf->pgoff >= area->nr_pages)
		return VM_FAULT_SIGBUS;
	vmf->page = area->pages[vmf->pgoff];
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct area_vm_ops = {
	.fault = area_fault,
};

/* A mapping of the area, page by page as each is touched. */
static int area_map(struct area *area, struct vm_area_desc *desc)
{
	/* What another side may write is no code. */
	if (vma_desc_test(desc, VMA_EXEC_BIT))
		return -EACCES;
	vma_desc_clear_flags(desc, VMA_MAYEXEC_BIT);
	vma_desc_set_flags(desc, VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);
	desc->vm_ops = &area_vm_ops;
	desc->private_data = area;
	return 0;
}

/* The same with all pages at once. They must be there. */
static int area_map_at_once(struct area *area, struct vm_area_desc *desc)
{
	if (desc->pgoff > area->nr_pages ||
	    vma_desc_pages(desc) > area->nr_pages - desc->pgoff)
		return -ENXIO;
	mmap_action_map_kernel_pages_full(desc, area->pages + desc->pgoff);
	return area_map(area, desc);
}

/*
 * A ring of messages in such memory. The other side may write there what it likes, at any moment.
 */

/* A cache line of what the producer writes, and one of what the consumer does. */
struct ring_control {
	u64 head;
	u64 producer_sleeps;
	u64 unused1[6];
	u64 tail;
	u64 consumer_sleeps;
	u64 unused2[6];
};

static_assert(sizeof(struct ring_control) == 128);

/* What this side knows, where the other one cannot reach it. */
struct ring {
	struct ring_control *control;
	u64 *data;
	/* This side's position, and the one up to which it may go. */
	u64 own;
	u64 until;
	bool broken;
};

/* In place of a length: what is left before the end is not used. */
#define RING_SKIP U64_MAX

/* One with the length, and its bytes. */
static u64 ring_words(u64 len)
{
	return 1 + DIV_ROUND_UP(len, WORD);
}

static u64 ring_before_end(u64 position)
{
	return RING_WORDS - position % RING_WORDS;
}

static int ring_is_broken(struct ring *ring)
{
	ring->broken = true;
	ring->until = ring->own;
	return -EPROTO;
}

/* Takes over how far this side may go: not less far than before, and not beyond the ring. */
static int ring_look(struct ring *ring, u64 until)
{
	u64 count = until - ring->own;

	if (ring->broken || count > RING_WORDS || count < ring->until - ring->own)
		return ring_is_broken(ring);
	ring->until = until;
	return count;
}

/* For the producer: how many words wait for the consumer. */
static int ring_unread(struct ring *ring)
{
	int free = ring_look(ring, smp_load_acquire(&ring->control->tail) + RING_WORDS);

	return free < 0 ? free : RING_WORDS - free;
}

/* For the consumer: how many words wait. */
static int ring_waiting(struct ring *ring)
{
	return ring_look(ring, smp_load_acquire(&ring->control->head));
}

/* How many words a message takes at that position, with those before the end that it may have to skip. */
static u64 ring_needed(u64 position, u64 words)
{
	u64 end = ring_before_end(position);

	return words > end ? end + words : words;
}

/* -ENOSPC if there is no room. */
static int ring_push(struct ring *ring, const u8 *message, size_t len)
{
	u64 words = ring_words(len), needed = ring_needed(ring->own, words);
	u64 *record;

	if (ring->until - ring->own < needed) {
		int unread = ring_unread(ring);

		if (unread < 0)
			return unread;
		if (RING_WORDS - unread < needed)
			return -ENOSPC;
	}
	record = ring->data + ring->own % RING_WORDS;
	if (needed != words) {
		WRITE_ONCE(*record, RING_SKIP);
		record = ring->data;
	}
	WRITE_ONCE(*record, len);
	/* What is left of the last word becomes zero. */
	if (len % WORD)
		record[words - 1] = 0;
	memcpy(record + 1, message, len);
	ring->own += needed;
	smp_store_release(&ring->control->head, ring->own);
	return 0;
}

/* -EAGAIN if there is no message, else its length. The buffer has room for any. */
static int ring_pop(struct ring *ring, u8 *message)
{
	u64 len, end, waiting;
	u64 *record;

	if (ring->until == ring->own) {
		int err = ring_waiting(ring);

		if (err <= 0)
			return err ?: -EAGAIN;
	}
	waiting = ring->until - ring->own;
	end = ring_before_end(ring->own);
	record = ring->data + ring->own % RING_WORDS;
	/* Read once; what it is later does not matter. */
	len = READ_ONCE(*record);
	if (len == RING_SKIP && end < RING_WORDS && end < waiting) {
		ring->own += end;
		waiting -= end;
		end = RING_WORDS;
		record = ring->data;
		len = READ_ONCE(*record);
	}
	if (len > MESSAGE_LIMIT || ring_words(len) > min(waiting, end))
		return ring_is_broken(ring);
	memcpy(message, record + 1, len);
	ring->own += ring_words(len);
	smp_store_release(&ring->control->tail, ring->own);
	return len;
}

/* Whether there is room for any message at that position, in a ring of which so much is used. */
static bool ring_has_room(u64 head, int used)
{
	return RING_WORDS - used >= ring_needed(head, ring_words(MESSAGE_LIMIT));
}

/* Says that somebody sleeps. Whoever calls must look once more before he does. */
static void ring_sleep(u64 *flag)
{
	WRITE_ONCE(*flag, 1);
	smp_mb();
}

static void ring_stay_awake(u64 *flag)
{
	WRITE_ONCE(*flag, 0);
}

/* Whether somebody sleeps, and must be told of a change. */
static bool ring_must_wake(u64 *flag)
{
	smp_mb();
	if (!READ_ONCE(*flag))
		return false;
	WRITE_ONCE(*flag, 0);
	return true;
}

/*
 * The HOWTO's page: one for each who opens it.
 */

static int page_open(struct inode *inode, struct file *file)
{
	struct area *area = area_new(1);

	if (!area)
		return -ENOMEM;
	memcpy(area->memory, GREETING, strlen(GREETING));
	file->private_data = area;
	return 0;
}

static int page_release(struct inode *inode, struct file *file)
{
	area_free(file->private_data);
	return 0;
}

/* What the kernel sees in the page: text up to a NUL. */
static ssize_t page_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct area *area = iocb->ki_filp->private_data;
	size_t len = strnlen(area->memory, PAGE_SIZE);
	size_t copied;

	if (iocb->ki_pos >= len || !iov_iter_count(to))
		return 0;
	copied = copy_to_iter(area->memory + iocb->ki_pos, len - iocb->ki_pos, to);
	if (!copied)
		return -EFAULT;
	iocb->ki_pos += copied;
	return copied;
}

static loff_t page_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, PAGE_SIZE);
}

static int page_mmap(struct vm_area_desc *desc)
{
	return area_map(desc->file->private_data, desc);
}

static const struct file_operations page_fops = {
	.owner = THIS_MODULE,
	.open = page_open,
	.release = page_release,
	.read_iter = page_read,
	.llseek = page_llseek,
	.mmap_prepare = page_mmap,
};

/*
 * Memory that all share.
 */

static struct area *shared;

static int shared_mmap(struct vm_area_desc *desc)
{
	return area_map(shared, desc);
}

static const struct file_operations shared_fops = {
	.owner = THIS_MODULE,
	.open = stream_open,
	.mmap_prepare = shared_mmap,
};

static struct miscdevice shared_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate_mmap_shared",
	.mode = 0660,
	.fops = &shared_fops,
};

/*
 * Memory that the module writes and users read.
 */

struct status {
	atomic64_t opened;
	atomic64_t echoed;
};

static struct area *status_area;
static struct status *status;

static int status_mmap(struct vm_area_desc *desc)
{
	/* A private mapping may be written to: then it has a copy of its own. */
	if (vma_desc_test(desc, VMA_MAYSHARE_BIT)) {
		if (vma_desc_test(desc, VMA_WRITE_BIT))
			return -EACCES;
		vma_desc_clear_flags(desc, VMA_MAYWRITE_BIT);
	}
	return area_map_at_once(status_area, desc);
}

static const struct file_operations status_fops = {
	.owner = THIS_MODULE,
	.open = stream_open,
	.mmap_prepare = status_mmap,
};

static struct miscdevice status_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate_mmap_status",
	.mode = 0444,
	.fops = &status_fops,
};

/*
 * The channel: two rings in memory of their own, and the module's end of both.
 */

struct channel {
	struct area *area;
	/* For the rings, and what is between them. */
	struct mutex lock;
	struct ring incoming;
	struct ring outgoing;
	u8 *buffer;
	/* How many bytes of the buffer are still to go out, or -1. */
	int pending;
	/* Woken whenever the user may have something to do, and said so. */
	wait_queue_head_t changed;
	struct work_struct work;
	atomic64_t bells;
	atomic64_t wakes;
};

/* Sends back one message. -EAGAIN and -ENOSPC are reasons to sleep. */
static int channel_echo(struct channel *channel)
{
	int err;

	if (channel->pending < 0) {
		int len = ring_pop(&channel->incoming, channel->buffer);

		if (len < 0)
			return len;
		channel->pending = len;
	}
	err = ring_push(&channel->outgoing, channel->buffer, channel->pending);
	if (err)
		return err;
	channel->pending = -1;
	return 0;
}

/* The same, or says in the memory what it waits for, and why. */
static int channel_step(struct channel *channel)
{
	u64 *no_message = &channel->incoming.control->consumer_sleeps;
	u64 *no_room = &channel->outgoing.control->producer_sleeps;
	int said = 0;

	for (;;) {
		int err = channel_echo(channel);

		if (err != -EAGAIN && err != -ENOSPC) {
			if (said) {
				ring_stay_awake(no_message);
				ring_stay_awake(no_room);
			}
			return err;
		}
		/* Once more for each reason: the other side may have looked before it was said. */
		if (err == said)
			return err;
		ring_sleep(err == -EAGAIN ? no_message : no_room);
		said = err;
	}
}

/* Sends back some messages, then lets others have their turn. */
static void channel_work(struct work_struct *work)
{
	struct channel *channel = container_of(work, struct channel, work);
	bool wake;
	int err = 0;
	int i;

	mutex_lock(&channel->lock);
	for (i = 0; i < 64; i++) {
		err = channel_step(channel);
		if (err)
			break;
		atomic64_inc(&status->echoed);
	}
	wake = ring_must_wake(&channel->incoming.control->producer_sleeps);
	wake |= ring_must_wake(&channel->outgoing.control->consumer_sleeps);
	/* If a ring is broken, whoever waits must know it. */
	if (wake || err == -EPROTO) {
		atomic64_inc(&channel->wakes);
		wake_up(&channel->changed);
	}
	mutex_unlock(&channel->lock);
	if (!err)
		queue_work(system_dfl_wq, &channel->work);
}

static int channel_open(struct inode *inode, struct file *file)
{
	struct channel *channel;
	struct ring_control *control;

	atomic64_inc(&status->opened);
	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	if (!channel)
		return -ENOMEM;
	channel->area = area_new(1 + 2 * RING_WORDS / PAGE_WORDS);
	channel->buffer = kmalloc(MESSAGE_LIMIT, GFP_KERNEL);
	if (!channel->area || !channel->buffer) {
		area_free(channel->area);
		kfree(channel->buffer);
		kfree(channel);
		return -ENOMEM;
	}
	mutex_init(&channel->lock);
	control = channel->area->memory;
	channel->incoming.control = &control[0];
	channel->incoming.data = channel->area->memory + PAGE_SIZE;
	channel->outgoing.control = &control[1];
	channel->outgoing.data = channel->incoming.data + RING_WORDS;
	channel->outgoing.until = RING_WORDS;
	channel->pending = -1;
	init_waitqueue_head(&channel->changed);
	INIT_WORK(&channel->work, channel_work);
	/* Nothing to do yet, so the first message must be rung for. */
	ring_sleep(&channel->incoming.control->consumer_sleeps);
	file->private_data = channel;
	return stream_open(inode, file);
}

static int channel_release(struct inode *inode, struct file *file)
{
	struct channel *channel = file->private_data;

	cancel_work_sync(&channel->work);
	area_free(channel->area);
	kfree(channel->buffer);
	kfree(channel);
	return 0;
}

/* The user's bell: a ring has changed, and the module said that it sleeps. */
static ssize_t channel_write(struct kiocb *iocb, struct iov_iter *from)
{
	struct channel *channel = iocb->ki_filp->private_data;
	int err;
	u64 word;

	if (iov_iter_count(from) != sizeof(word))
		return -EINVAL;
	if (!copy_from_iter_full(&word, sizeof(word), from))
		return -EFAULT;
	if (word != RING)
		return -EINVAL;
	atomic64_inc(&channel->bells);
	/* Also if a ring is broken: then it finds that out, and tells all who wait. */
	queue_work(system_dfl_wq, &channel->work);
	mutex_lock(&channel->lock);
	err = ring_waiting(&channel->incoming);
	if (err >= 0)
		err = ring_unread(&channel->outgoing);
	mutex_unlock(&channel->lock);
	return err < 0 ? err : sizeof(word);
}

/* How many words wait for the user. If there are none, the module has been told that he sleeps. */
static int channel_readable(struct channel *channel)
{
	int words;

	mutex_lock(&channel->lock);
	ring_sleep(&channel->outgoing.control->consumer_sleeps);
	words = ring_waiting(&channel->incoming);
	if (words >= 0)
		words = ring_unread(&channel->outgoing);
	mutex_unlock(&channel->lock);
	return words;
}

static int channel_wait(struct channel *channel)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int words;

	add_wait_queue(&channel->changed, &wait);
	for (;;) {
		words = channel_readable(channel);
		if (words)
			break;
		if (signal_pending(current)) {
			words = -ERESTARTSYS;
			break;
		}
		wait_woken(&wait, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	}
	remove_wait_queue(&channel->changed, &wait);
	return words;
}

/* Waits until there is a message for the user, and says how many bytes there are. */
static ssize_t channel_read(struct kiocb *iocb, struct iov_iter *to)
{
	struct channel *channel = iocb->ki_filp->private_data;
	int words;
	u64 bytes;

	if (iov_iter_count(to) < sizeof(bytes))
		return -EINVAL;
	words = channel_readable(channel);
	if (!words) {
		if (iocb->ki_flags & IOCB_NOWAIT || iocb->ki_filp->f_flags & O_NONBLOCK)
			return -EAGAIN;
		words = channel_wait(channel);
	}
	if (words < 0)
		return words;
	bytes = words * WORD;
	return copy_to_iter(&bytes, sizeof(bytes), to) == sizeof(bytes) ? sizeof(bytes) : -EFAULT;
}

static __poll_t channel_poll(struct file *file, poll_table *table)
{
	struct channel *channel = file->private_data;
	__poll_t ready = 0;
	int used;

	/* Registered, said that somebody sleeps, and only then looked. */
	poll_wait(file, &channel->changed, table);
	mutex_lock(&channel->lock);
	ring_sleep(&channel->outgoing.control->consumer_sleeps);
	ring_sleep(&channel->incoming.control->producer_sleeps);
	used = ring_unread(&channel->outgoing);
	if (used < 0)
		ready |= EPOLLERR;
	else if (used)
		ready |= EPOLLIN | EPOLLRDNORM;
	used = ring_waiting(&channel->incoming);
	if (used < 0)
		ready |= EPOLLERR;
	else if (ring_has_room(channel->incoming.until, used))
		ready |= EPOLLOUT | EPOLLWRNORM;
	mutex_unlock(&channel->lock);
	return ready;
}

static int channel_mmap(struct vm_area_desc *desc)
{
	struct channel *channel = desc->file->private_data;

	return area_map_at_once(channel->area, desc);
}

static void channel_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct channel *channel = file->private_data;

	seq_printf(m, "callgate_bells:\t%lld\n", atomic64_read(&channel->bells));
	seq_printf(m, "callgate_wakes:\t%lld\n", atomic64_read(&channel->wakes));
}

static const struct file_operations channel_fops = {
	.owner = THIS_MODULE,
	.open = channel_open,
	.release = channel_release,
	.read_iter = channel_read,
	.write_iter = channel_write,
	.poll = channel_poll,
	.mmap_prepare = channel_mmap,
	.show_fdinfo = channel_show_fdinfo,
};

static struct miscdevice channel_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "callgate_mmap",
	.mode = 0660,
	.fops = &channel_fops,
};

static struct dentry *page_file;

static int __init example_init(void)
{
	int err = -ENOMEM;

	shared = area_new(SHARED_PAGES);
	status_area = area_new(1);
	if (!shared || !status_area)
		goto free;
	status = status_area->memory;
	err = misc_register(&shared_misc);
	if (err)
		goto free;
	err = misc_register(&status_misc);
	if (err)
		goto deregister_shared;
	err = misc_register(&channel_misc);
	if (err)
		goto deregister_status;
	/* The other functions of debugfs do not let a file be mapped. */
	page_file = debugfs_create_file_unsafe("mmap_example", 0644, NULL, NULL, &page_fops);
	return 0;

deregister_status:
	misc_deregister(&status_misc);
deregister_shared:
	misc_deregister(&shared_misc);
free:
	area_free(status_area);
	area_free(shared);
	return err;
}

static void __exit example_exit(void)
{
	debugfs_remove(page_file);
	misc_deregister(&channel_misc);
	misc_deregister(&status_misc);
	misc_deregister(&shared_misc);
	area_free(status_area);
	area_free(shared);
}

module_init(example_init);
module_exit(example_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("mmap: shared memory, and rings of messages with a doorbell");
MODULE_LICENSE("GPL");
