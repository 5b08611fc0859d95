/* Looks a name up by the C library that this is linked with, and prints its addresses or the error. */

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **words)
{
    struct addrinfo wanted = { .ai_socktype = SOCK_STREAM }, *found, *each;
    char text[NI_MAXHOST];
    int error;

    if (count != 2)
        return 2;
    error = getaddrinfo(words[1], NULL, &wanted, &found);
    if (error) {
        printf("getaddrinfo %s\n", gai_strerror(error));
        return 1;
    }
    for (each = found; each; each = each->ai_next) {
        error = getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
        if (error)
            return 3;
        puts(text);
    }
    freeaddrinfo(found);
    return 0;
}
