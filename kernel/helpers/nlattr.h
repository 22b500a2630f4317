/* SPDX-License-Identifier: GPL-2.0 */

/* See nlattr.rs. They are what their namesakes are, without callgate_. */

#ifndef CALLGATE_HELPERS_NLATTR_H
#define CALLGATE_HELPERS_NLATTR_H

#include <net/netlink.h>

struct nlattr *callgate_nla_nest_start(struct sk_buff *skb, int attrtype);
/* As nla_nest_end_safe(), but 0 if all is well. */
int callgate_nla_nest_end(struct sk_buff *skb, struct nlattr *start);
void callgate_nla_nest_cancel(struct sk_buff *skb, const struct nlattr *start);

#endif
