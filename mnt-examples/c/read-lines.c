// Reads a stream of lines to its end, each as soon as it is sent.
#include "file.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: read-lines DIR");
    FILE *log = fdopen(open_in(argv[1], "log/b:line", O_RDONLY), "r");
    if (log == NULL)
        err(1, "fdopen");
    long count = 0, sum = 0;
    char line[64];
    while (fgets(line, sizeof line, log) != NULL) { // NULL when the sender has closed its end
        count++;
        sum += strtol(line, NULL, 10);
    }
    if (ferror(log))
        err(1, "read");
    printf("%ld lines, %ld in all\n", count, sum);
    return 0;
}
