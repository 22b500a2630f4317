/* SPDX-License-Identifier: GPL-2.0 */

/* See genetlink.rs. All but the first are what their namesakes are, without callgate_. */

#ifndef CALLGATE_HELPERS_GENETLINK_H
#define CALLGATE_HELPERS_GENETLINK_H

#include <net/genetlink.h>

/*
 * genlmsg_put() in a dump, which may outlive the registration of its family. So the family's number is
 * that of the request: it may be registered again by now, under another one.
 */
void *callgate_genl_dump_put(struct sk_buff *skb, const struct genl_info *info);

struct net *callgate_genl_info_net(const struct genl_info *info);
int callgate_genlmsg_reply(struct sk_buff *skb, struct genl_info *info);
int callgate_genlmsg_multicast_netns(const struct genl_family *family, struct net *net,
				     struct sk_buff *skb, u32 portid, unsigned int group,
				     gfp_t flags);
int callgate_genl_set_err(const struct genl_family *family, struct net *net, u32 portid,
			  u32 group, int code);
void callgate_genl_dump_check_consistent(struct netlink_callback *cb, void *user_hdr);

#endif
