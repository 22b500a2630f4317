// SPDX-License-Identifier: GPL-2.0

#include <linux/if_ether.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/string.h>

#include "packet.h"

struct net_device *callgate_frame_device(const struct sk_buff *skb)
{
	return skb->dev;
}

u8 callgate_frame_type(const struct sk_buff *skb)
{
	return skb->pkt_type;
}

bool callgate_frame_source(const struct sk_buff *skb, u8 *source)
{
	u8 address[MAX_ADDR_LEN];

	if (!skb_mac_header_was_set(skb) || skb->dev->addr_len != ETH_ALEN ||
	    dev_parse_header(skb, address) != ETH_ALEN)
		return false;
	memcpy(source, address, ETH_ALEN);
	return true;
}

void callgate_frame_done(struct sk_buff *skb, bool used)
{
	if (used)
		consume_skb(skb);
	else
		kfree_skb(skb);
}

unsigned int callgate_frame_mtu(const struct net_device *dev)
{
	return READ_ONCE(dev->mtu);
}

struct sk_buff *callgate_frame_new(struct net_device *dev, const struct sk_buff *received,
				   unsigned int len)
{
	/* Either may change at any time. */
	unsigned int headroom = LL_RESERVED_SPACE(dev);
	unsigned int tailroom = READ_ONCE(dev->needed_tailroom);
	struct sk_buff *skb = alloc_skb(headroom + len + tailroom, GFP_ATOMIC | __GFP_NOWARN);

	if (!skb)
		return NULL;
	skb_reserve(skb, headroom);
	skb_reset_network_header(skb);
	skb_put_zero(skb, len);
	skb->dev = dev;
	skb->protocol = received->protocol;
	return skb;
}

void *callgate_frame_payload(struct sk_buff *skb)
{
	return skb->data;
}

int callgate_frame_send(struct sk_buff *skb, const u8 *to)
{
	/* How much of it is read is up to the device, and a device can change (a bond does). */
	u8 address[MAX_ADDR_LEN] = {};
	int err;

	if (!dev_has_header(skb->dev) || skb->dev->addr_len != ETH_ALEN) {
		kfree_skb(skb);
		return -EAFNOSUPPORT;
	}
	memcpy(address, to, ETH_ALEN);
	/* Makes the header in the headroom, from the device's own address. */
	if (dev_hard_header(skb, skb->dev, ntohs(skb->protocol), address, NULL, skb->len) < 0) {
		kfree_skb(skb);
		return -EINVAL;
	}
	err = dev_queue_xmit(skb);
	return err > 0 ? net_xmit_errno(err) : err;
}
