/* SPDX-License-Identifier: GPL-2.0 */

/* See umh.rs. */

#ifndef CALLGATE_HELPERS_UMH_H
#define CALLGATE_HELPERS_UMH_H

/*
 * Makes name the working directory of the current task, which must share its directories with nobody.
 * set_fs_pwd(), which would do this, is not exported.
 */
int callgate_chdir(const char *name);

#endif
