// SPDX-License-Identifier: GPL-2.0

#include <net/sock.h>

#include "netlink.h"

u32 callgate_netlink_portid(const struct sk_buff *skb)
{
	return NETLINK_CB(skb).portid;
}

bool callgate_sock_is_ours(const struct sock *sk)
{
	if (refcount_read(&sk->sk_refcnt) != 1)
		return false;
	smp_acquire__after_ctrl_dep();
	return true;
}

struct sock *callgate_sock_next(const struct sock *sk)
{
	return (struct sock __force *)sk->sk_user_data;
}

void callgate_sock_set_next(struct sock *sk, struct sock *next)
{
	sk->sk_user_data = (void __force __rcu *)next;
}

void callgate_sock_hold(struct sock *sk)
{
	sock_hold(sk);
}

void callgate_sock_put(struct sock *sk)
{
	sock_put(sk);
}

struct net *callgate_sock_net(const struct sock *sk)
{
	return sock_net(sk);
}

int callgate_nlmsg_unicast(struct sock *sk, struct sk_buff *skb, u32 portid)
{
	return nlmsg_unicast(sk, skb, portid);
}

int callgate_nlmsg_multicast(struct sock *sk, struct sk_buff *skb, u32 portid,
			     unsigned int group, gfp_t flags)
{
	return nlmsg_multicast(sk, skb, portid, group, flags);
}

void callgate_nlmsg_end(struct sk_buff *skb, struct nlmsghdr *nlh)
{
	nlmsg_end(skb, nlh);
}
