// SPDX-License-Identifier: GPL-2.0

#include <linux/rcupdate.h>
#include <net/netns/generic.h>

#include "net_namespace.h"

void *callgate_net_generic(const struct net *net, unsigned int id)
{
	struct net_generic *ng;
	void *ptr = NULL;

	rcu_read_lock();
	ng = rcu_dereference(net->gen);
	if (id < ng->s.len)
		ptr = ng->ptr[id];
	rcu_read_unlock();

	return ptr;
}
