/* SPDX-License-Identifier: GPL-2.0 */

/* See packet.rs. */

#ifndef CALLGATE_HELPERS_PACKET_H
#define CALLGATE_HELPERS_PACKET_H

#include <linux/types.h>

struct net_device;
struct sk_buff;

/* The device that received a frame. */
struct net_device *callgate_frame_device(const struct sk_buff *skb);

/* To whom a received frame is addressed: one of PACKET_HOST, PACKET_BROADCAST, and so on. */
u8 callgate_frame_type(const struct sk_buff *skb);

/* Whether a received frame has a sender with an address of ETH_ALEN bytes, which is then in @source. */
bool callgate_frame_source(const struct sk_buff *skb, u8 *source);

/* The end of a received frame, which has been used or was of no use. */
void callgate_frame_done(struct sk_buff *skb, bool used);

/* The longest payload of a frame on @dev. */
unsigned int callgate_frame_mtu(const struct net_device *dev);

/*
 * A frame of the same EtherType as @received, with @len zeroes as its payload, to be sent from @dev. NULL if
 * there is no memory for it.
 */
struct sk_buff *callgate_frame_new(struct net_device *dev, const struct sk_buff *received,
				   unsigned int len);

/* The payload of a frame that has not been sent. */
void *callgate_frame_payload(struct sk_buff *skb);

/* Sends a frame to the ETH_ALEN bytes at @to, and so frees it. 0, or a negative errno. */
int callgate_frame_send(struct sk_buff *skb, const u8 *to);

#endif
