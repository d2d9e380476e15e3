/* Resolves a name as an application does: resolve NAME. One address a line, or the error.
 * Linked statically with musl, whose resolver asks A and AAAA at once from one socket. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found, *each;
	char text[INET6_ADDRSTRLEN];
	int code;

	if (argc != 2)
		return 2;
	code = getaddrinfo(argv[1], "80", &hints, &found);
	if (code) {
		printf("error %s\n", gai_strerror(code));
		return 1;
	}
	for (each = found; each; each = each->ai_next) {
		void *address = each->ai_family == AF_INET
			? (void *)&((struct sockaddr_in *)each->ai_addr)->sin_addr
			: (void *)&((struct sockaddr_in6 *)each->ai_addr)->sin6_addr;
		puts(inet_ntop(each->ai_family, address, text, sizeof text));
	}
	freeaddrinfo(found);
	return 0;
}
