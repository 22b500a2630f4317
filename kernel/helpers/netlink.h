/* SPDX-License-Identifier: GPL-2.0 */

/* See netlink.rs. All but the first four are what their namesakes are, without callgate_. */

#ifndef CALLGATE_HELPERS_NETLINK_H
#define CALLGATE_HELPERS_NETLINK_H

#include <net/netlink.h>

/* Who sent a message to the kernel. */
u32 callgate_netlink_portid(const struct sk_buff *skb);

/*
 * Whether nobody but the caller has a reference to it any more. Then whatever others did while they had
 * one is done.
 */
bool callgate_sock_is_ours(const struct sock *sk);

/* A list of sockets, by the sk_user_data of each. */
struct sock *callgate_sock_next(const struct sock *sk);
void callgate_sock_set_next(struct sock *sk, struct sock *next);

void callgate_sock_hold(struct sock *sk);
void callgate_sock_put(struct sock *sk);
struct net *callgate_sock_net(const struct sock *sk);
int callgate_nlmsg_unicast(struct sock *sk, struct sk_buff *skb, u32 portid);
int callgate_nlmsg_multicast(struct sock *sk, struct sk_buff *skb, u32 portid,
			     unsigned int group, gfp_t flags);
void callgate_nlmsg_end(struct sk_buff *skb, struct nlmsghdr *nlh);

#endif
