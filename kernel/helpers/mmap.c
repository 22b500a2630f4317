// SPDX-License-Identifier: GPL-2.0

#include <linux/mm.h>

#include "mmap.h"

void callgate_get_page(struct page *page)
{
	get_page(page);
}
