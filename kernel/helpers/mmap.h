/* SPDX-License-Identifier: GPL-2.0 */

/* See mmap.rs. */

#ifndef CALLGATE_HELPERS_MMAP_H
#define CALLGATE_HELPERS_MMAP_H

struct page;

/* get_page() */
void callgate_get_page(struct page *page);

#endif
