// SPDX-License-Identifier: GPL-2.0
/*
 * module.rs in C, with the same behaviour: what Rust and the library cost is the difference.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

/* The newline included. */
#define NOTE_LIMIT 4095
#define BLOB_SIZE 5000

static struct kobject *myfs;

static int first = 1;
static int second = 2;
static unsigned int level;
static atomic64_t changes;

static DEFINE_MUTEX(note_lock);
static u8 *note;
static size_t note_len;

static DEFINE_MUTEX(blob_lock);
static u8 blob[BLOB_SIZE];

/* Whether the directory is there for the expert; once the module goes, that stays as it is. */
static DEFINE_MUTEX(mode_lock);
static bool expert;
static bool going;

/* What is written is a C string only if it has no NUL. */
static bool is_text(const char *buf, size_t len)
{
	return !memchr(buf, 0, len);
}

/* Without one newline at the end, which echo(1) puts there. */
static size_t line_len(const char *buf, size_t len)
{
	return len && buf[len - 1] == '\n' ? len - 1 : len;
}

static bool is_line(const char *buf, size_t len, const char *word)
{
	len = line_len(buf, len);
	return len == strlen(word) && !memcmp(buf, word, len);
}

/* Tells those who wait that an attribute has changed. */
static void changed(const char *dir, const char *attr)
{
	atomic64_inc(&changes);
	sysfs_notify(myfs, NULL, "changes");
	sysfs_notify(myfs, dir, attr);
}

static ssize_t first_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(first));
}

static ssize_t first_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			   size_t len)
{
	int value, err;

	err = is_text(buf, len) ? kstrtoint(buf, 0, &value) : -EINVAL;
	if (err)
		return err;
	WRITE_ONCE(first, value);
	changed(NULL, "first");
	return len;
}

static ssize_t second_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(second));
}

static ssize_t second_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			    size_t len)
{
	int value, err;

	err = is_text(buf, len) ? kstrtoint(buf, 0, &value) : -EINVAL;
	if (err)
		return err;
	WRITE_ONCE(second, value);
	changed(NULL, "second");
	return len;
}

static ssize_t note_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	size_t len;

	mutex_lock(&note_lock);
	len = note_len;
	if (len)
		memcpy(buf, note, len);
	mutex_unlock(&note_lock);
	buf[len] = '\n';
	return len + 1;
}

/* Kept to the letter, but for a newline at the end, which it always has when it is read. */
static ssize_t note_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			  size_t len)
{
	size_t line = line_len(buf, len);
	u8 *new = NULL;

	if (line + 1 > NOTE_LIMIT)
		return -EINVAL;
	if (line) {
		new = kmemdup(buf, line, GFP_KERNEL);
		if (!new)
			return -ENOMEM;
	}
	mutex_lock(&note_lock);
	swap(note, new);
	note_len = line;
	mutex_unlock(&note_lock);
	kfree(new);
	changed(NULL, "note");
	return len;
}

static ssize_t changes_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", (u64)atomic64_read(&changes));
}

static ssize_t level_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(level));
}

static ssize_t level_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			   size_t len)
{
	int err;
	u8 value;

	err = is_text(buf, len) ? kstrtou8(buf, 0, &value) : -EINVAL;
	if (err)
		return err;
	WRITE_ONCE(level, value);
	changed("expert", "level");
	return len;
}

static struct kobj_attribute level_attr = __ATTR_RW(level);

static struct attribute *expert_attrs[] = {
	&level_attr.attr,
	NULL,
};

static const struct attribute_group expert_group = {
	.name = "expert",
	.attrs = expert_attrs,
};

/*
 * sysfs leaves those in peace who wait for a change. Now that the file has gone they see that it
 * has, if they are woken.
 */
static void remove_file(const struct attribute *attr, const char *group)
{
	struct kernfs_node *dir = group ? kernfs_find_and_get(myfs->sd, group) : myfs->sd;
	struct kernfs_node *file = dir ? kernfs_find_and_get(dir, attr->name) : NULL;

	sysfs_remove_file_from_group(myfs, attr, group);
	if (file)
		kernfs_notify(file);
	kernfs_put(file);
	if (group)
		kernfs_put(dir);
}

static void remove_expert(void)
{
	remove_file(&level_attr.attr, "expert");
	sysfs_remove_group(myfs, &expert_group);
}

static ssize_t mode_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%s\n", READ_ONCE(expert) ? "expert" : "simple");
}

static ssize_t mode_store(struct kobject *kobj, struct kobj_attribute *attr, const char *buf,
			  size_t len)
{
	bool wanted = is_line(buf, len, "expert");
	int err = 0;

	if (!wanted && !is_line(buf, len, "simple"))
		return -EINVAL;
	mutex_lock(&mode_lock);
	if (wanted != expert && !going) {
		if (wanted)
			err = sysfs_create_group(myfs, &expert_group);
		else
			remove_expert();
		if (!err)
			WRITE_ONCE(expert, wanted);
	}
	mutex_unlock(&mode_lock);
	if (err)
		return err;
	changed(NULL, "mode");
	return len;
}

static ssize_t blob_read(struct file *file, struct kobject *kobj, const struct bin_attribute *attr,
			 char *buf, loff_t offset, size_t len)
{
	mutex_lock(&blob_lock);
	memcpy(buf, blob + offset, len);
	mutex_unlock(&blob_lock);
	return len;
}

static ssize_t blob_write(struct file *file, struct kobject *kobj, const struct bin_attribute *attr,
			  char *buf, loff_t offset, size_t len)
{
	mutex_lock(&blob_lock);
	memcpy(blob + offset, buf, len);
	mutex_unlock(&blob_lock);
	return len;
}

static struct kobj_attribute first_attr = __ATTR_RW(first);
static struct kobj_attribute second_attr = __ATTR_RW(second);
static struct kobj_attribute note_attr = __ATTR_RW(note);
static struct kobj_attribute changes_attr = __ATTR_RO(changes);
static struct kobj_attribute mode_attr = __ATTR_RW(mode);

static struct attribute *attrs[] = {
	&first_attr.attr,
	&second_attr.attr,
	&note_attr.attr,
	&changes_attr.attr,
	&mode_attr.attr,
	NULL,
};

static const BIN_ATTR_RW(blob, BLOB_SIZE);

static const struct bin_attribute *const bin_attrs[] = {
	&bin_attr_blob,
	NULL,
};

static const struct attribute_group group = {
	.attrs = attrs,
	.bin_attrs = bin_attrs,
};

static void remove_all(void)
{
	mutex_lock(&mode_lock);
	going = true;
	mutex_unlock(&mode_lock);
	for (size_t n = 0; attrs[n]; n++)
		remove_file(attrs[n], NULL);
	sysfs_remove_bin_file(myfs, &bin_attr_blob);
	if (expert)
		remove_expert();
	kobject_del(myfs);
	kobject_put(myfs);
	kfree(note);
}

static int __init sysfs_init(void)
{
	struct kernfs_node *taken = kernfs_find_and_get(fs_kobj->sd, "myfs");
	int err;

	/* kobject_create_and_add() would log a stack trace. */
	if (taken) {
		kernfs_put(taken);
		return -EEXIST;
	}
	myfs = kobject_create_and_add("myfs", fs_kobj);
	if (!myfs)
		return -ENOMEM;
	err = sysfs_create_group(myfs, &group);
	if (err)
		remove_all();
	return err;
}

static void __exit sysfs_exit(void)
{
	remove_all();
}

module_init(sysfs_init);
module_exit(sysfs_exit);
MODULE_AUTHOR("callgate");
MODULE_DESCRIPTION("sysfs: values of every kind in /sys/fs/myfs");
MODULE_LICENSE("GPL");
