// One end of a connection: a message is a string.
#pragma once

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>

// read(2) and write(2) and no std::fstream, whose buffer gathers what is written and which has to seek between reading
// and writing.
class Connection {
public:
    explicit Connection(const std::string &path) : fd(open(path.c_str(), O_RDWR | O_CLOEXEC))
    {
        if (fd < 0)
            throw std::system_error(errno, std::generic_category(), path);
    }
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;
    ~Connection() { close(fd); } // the other side reads "" then

    // Waits for a message of up to 4096 bytes; the rest of a longer one comes next. "" at the end.
    std::string receive()
    {
        std::string message(4096, '\0');
        message.resize(again([&] { return read(fd, message.data(), message.size()); }));
        return message;
    }

    // A write is one message, whole or not at all.
    void send(std::string_view message)
    {
        again([&] { return write(fd, message.data(), message.size()); });
    }

private:
    // A call that is interrupted by a signal has done nothing.
    template <typename Call> static std::size_t again(Call call)
    {
        ssize_t size;
        while ((size = call()) < 0)
            if (errno != EINTR)
                throw std::system_error(errno, std::generic_category());
        return size;
    }

    int fd;
};
