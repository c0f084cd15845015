/*-------------------------------------------------------------------------
 *
 * http_sockets.h
 *	  The epoll set with the sockets of an HTTP engine.
 *
 * Used by http.c and http_transfer.c alone.  Nothing here pallocs or raises
 * errors, because libcurl's callbacks call it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MRB_HTTP_SOCKETS_H
#define MRB_HTTP_SOCKETS_H

#include <curl/curl.h>

typedef struct MrbHttpSockets
{
	int			epoll_fd;
	uint8	   *states;			/* by descriptor, of sockets for connections */
	int			size;			/* of states */
} MrbHttpSockets;

/* A socket for a connection was opened, or is about to be closed. */
extern void mrb_http_sockets_opened(MrbHttpSockets *sockets, curl_socket_t fd);
extern void mrb_http_sockets_closing(MrbHttpSockets *sockets, curl_socket_t fd);

/* The transfer that opened the socket has ended. */
extern void mrb_http_sockets_ended(MrbHttpSockets *sockets, curl_socket_t fd);

/* Wait for a socket as libcurl wants it: CURL_POLL_... */
extern void mrb_http_sockets_watch(MrbHttpSockets *sockets, curl_socket_t fd, int what);

/* Whether an event of a socket is for libcurl. */
extern bool mrb_http_sockets_take(MrbHttpSockets *sockets, curl_socket_t fd);

#endif							/* MRB_HTTP_SOCKETS_H */
