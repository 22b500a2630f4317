// SPDX-License-Identifier: GPL-2.0

#include <linux/fs_struct.h>
#include <linux/namei.h>
#include <linux/sched.h>

#include "umh.h"

int callgate_chdir(const char *name)
{
	struct fs_struct *fs = current->fs;
	struct path path, old;
	int err;

	err = kern_path(name, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &path);
	if (err)
		return err;

	write_seqlock(&fs->seq);
	old = fs->pwd;
	fs->pwd = path;
	write_sequnlock(&fs->seq);
	path_put(&old);

	return 0;
}
