// Asks on the other end of the pair, one question at a time.
#include "file.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: ask DIR");
    int talk = open_in(argv[1], "talk/a", O_RDWR);

    const int numbers[] = { 2, 3, 12 };
    for (int i = 0; i < 3; i++) {
        char request[64], answer[64];
        send_message(talk, request, snprintf(request, sizeof request, "%d\n", numbers[i]));
        if (receive(talk, answer, sizeof answer) == 0) // waits for it
            errx(1, "the other side is gone");
        printf("%d squared is %ld\n", numbers[i], strtol(answer, NULL, 10));
    }
    return 0;
}
