/* SPDX-License-Identifier: GPL-2.0 */

/* See net_namespace.rs. */

#ifndef CALLGATE_HELPERS_NET_NAMESPACE_H
#define CALLGATE_HELPERS_NET_NAMESPACE_H

struct net;

/*
 * As net_generic(), but NULL if the namespace has nothing under this id: not yet, when it is being set up,
 * and not even memory for the pointer, if it was allocated before the id was.
 */
void *callgate_net_generic(const struct net *net, unsigned int id);

#endif
