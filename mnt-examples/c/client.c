// Asks the service SERVICE for a sum, a number at a time.
#include "file.h"
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: client SERVICE");
    int connection = open_in(argv[1], "connect", O_RDWR); // our own, until it is closed

    const char *const numbers[] = { "3", "4", "five", "5" };
    for (int i = 0; i < 4; i++) {
        char answer[64];
        send_message(connection, numbers[i], strlen(numbers[i]));
        if (receive(connection, answer, sizeof answer) == 0) // waits for it
            errx(1, "the server is gone");
        printf("%s -> %s", numbers[i], answer);
    }
    return 0;
}
