// Serves SERVICE, four clients at once: each message is a number, the answer the sum of this client's numbers.
#include "connection.hpp"

#include <charconv>
#include <iostream>
#include <optional>
#include <thread>
#include <vector>

static std::optional<unsigned long> number_in(std::string_view text)
{
    if (text.ends_with('\n'))
        text.remove_suffix(1);
    unsigned long number;
    auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || rest != text.data() + text.size())
        return std::nullopt;
    return number;
}

static void serve(Connection client)
{
    unsigned long sum = 0;
    for (std::string text; text = client.receive(), !text.empty();) // waits for a client, then for its messages
        if (auto number = number_in(text))
            client.send(std::to_string(sum += *number) + "\n");
        else
            client.send("not a number\n");
}

static void clerk(const std::string &accept)
{
    for (;;) // each turn opens `accept` anew, for another client
        try {
            serve(Connection(accept));
        } catch (const std::system_error &error) {
            if (error.code() == std::errc::no_such_file_or_directory)
                return; // the service was removed
            // The client was killed (ECONNRESET), or did not wait for its answer (EPIPE).
            if (error.code() != std::errc::connection_reset && error.code() != std::errc::broken_pipe)
                std::cerr << error.what() << "\n", std::exit(1);
        }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::cerr << "usage: server SERVICE\n";
        return 2;
    }
    std::vector<std::jthread> clerks; // joined at the end
    for (int i = 0; i < 4; i++)
        clerks.emplace_back(clerk, argv[1] + std::string("/accept"));
}
