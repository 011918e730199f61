// Answers requests on one end of a pair: a request is a number, the answer its square.
#include "file.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: answer DIR");
    int talk = open_in(argv[1], "talk/b", O_RDWR); // the end is ours until it is closed

    char request[64], answer[64];
    while (receive(talk, request, sizeof request) > 0) { // 0 when the other side has closed its end
        long number = strtol(request, NULL, 10);
        send_message(talk, answer, snprintf(answer, sizeof answer, "%ld\n", number * number));
    }
    return 0;
}
