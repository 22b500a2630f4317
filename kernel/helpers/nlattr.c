// SPDX-License-Identifier: GPL-2.0

#include "nlattr.h"

struct nlattr *callgate_nla_nest_start(struct sk_buff *skb, int attrtype)
{
	return nla_nest_start(skb, attrtype);
}

int callgate_nla_nest_end(struct sk_buff *skb, struct nlattr *start)
{
	int len = nla_nest_end_safe(skb, start);

	return len < 0 ? len : 0;
}

void callgate_nla_nest_cancel(struct sk_buff *skb, const struct nlattr *start)
{
	nla_nest_cancel(skb, (struct nlattr *)start);
}
