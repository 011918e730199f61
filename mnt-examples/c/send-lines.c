// Sends a stream of lines.
#include "file.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: send-lines DIR");
    // A FILE gathers lines before it writes them; `:line` makes messages of them again.
    FILE *log = fdopen(open_in(argv[1], "log/a:line", O_WRONLY), "w");
    if (log == NULL)
        err(1, "fdopen");
    for (int number = 1; number <= 1000; number++)
        fprintf(log, "%d\n", number);
    if (ferror(log) | fclose(log)) // an error of any write shows here
        err(1, "write");
    return 0;
}
