// SPDX-License-Identifier: GPL-2.0

#include "genetlink.h"

void *callgate_genl_dump_put(struct sk_buff *skb, const struct genl_info *info)
{
	struct genlmsghdr *hdr;
	struct nlmsghdr *nlh;

	nlh = nlmsg_put(skb, info->snd_portid, info->snd_seq, info->nlhdr->nlmsg_type,
			GENL_HDRLEN, NLM_F_MULTI);
	if (!nlh)
		return NULL;

	hdr = nlmsg_data(nlh);
	hdr->cmd = info->genlhdr->cmd;
	hdr->version = info->family->version;
	hdr->reserved = 0;

	return (char *)hdr + GENL_HDRLEN;
}

struct net *callgate_genl_info_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

int callgate_genlmsg_reply(struct sk_buff *skb, struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}

int callgate_genlmsg_multicast_netns(const struct genl_family *family, struct net *net,
				     struct sk_buff *skb, u32 portid, unsigned int group,
				     gfp_t flags)
{
	return genlmsg_multicast_netns(family, net, skb, portid, group, flags);
}

int callgate_genl_set_err(const struct genl_family *family, struct net *net, u32 portid,
			  u32 group, int code)
{
	return genl_set_err(family, net, portid, group, code);
}

void callgate_genl_dump_check_consistent(struct netlink_callback *cb, void *user_hdr)
{
	genl_dump_check_consistent(cb, user_hdr);
}
