// TCP: queues of new connections, buffers, ports.
#include <algorithm>

#include "absl/strings/str_split.h"
#include "tools/tune/rule.h"

namespace ringtail::tune {
namespace {

constexpr int64_t kBacklog = 4096;  // what the broker asks for (engine/io/uring_sockets.cc)

void Backlog(const Machine& machine, Profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "network.somaxconn", "connections not accepted yet",
                                "net.core.somaxconn");
  Because(&finding,
          "The broker asks for a queue of 4096 for each listener; this caps it without a word. "
          "Clients that all come back after a restart overflow a short one and wait for seconds.",
          "listen(2); Documentation/networking/ip-sysctl.rst (somaxconn)");
  const std::optional<int64_t> value = ParseInt(finding.found);
  if (value && *value < kBacklog) {
    Say(&finding, Verdict::kAdvice, "as many as the broker asks for");
    SetSysctl(&finding, "net.core.somaxconn", absl::StrCat(kBacklog));
  }
  findings->push_back(std::move(finding));
}

void SynBacklog(const Machine& machine, Profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "network.syn_backlog", "connections being made",
                                "net.ipv4.tcp_max_syn_backlog");
  Because(
      &finding,
      "Without SYN cookies the kernel drops new connections as this fills up; with them it does "
      "not matter.",
      "Documentation/networking/ip-sysctl.rst (tcp_max_syn_backlog, tcp_syncookies); tcp(7)");
  const std::optional<int64_t> value = ParseInt(finding.found);
  const Fact<std::string>& cookies = machine.sysctl("net.ipv4.tcp_syncookies");
  if (value && cookies.value.value_or("0") != "0") {
    finding.note = "SYN cookies are on (net.ipv4.tcp_syncookies)";
  } else if (value && *value < kBacklog) {
    Say(&finding, Verdict::kAdvice, "SYN cookies are off, or cannot be read");
    SetSysctl(&finding, "net.ipv4.tcp_max_syn_backlog", absl::StrCat(kBacklog));
  }
  findings->push_back(std::move(finding));
}

void Buffers(const Machine& machine, Profile profile, Findings* findings) {
  constexpr int64_t kMiB = 1 << 20;
  const int64_t wanted = profile == Profile::kThroughput ? 16 * kMiB : 4 * kMiB;
  for (const char* name : {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}) {
    const bool receive = std::string(name) == "net.ipv4.tcp_rmem";
    Finding finding =
        AboutSysctl(machine, receive ? "network.receive_buffer" : "network.send_buffer",
                    receive ? "receive buffers" : "send buffers", name);
    Because(&finding,
            "The last of the three bounds what the kernel grows a connection's buffer to, and with "
            "it the bytes under way: bandwidth times round trip.",
            "tcp(7) (tcp_rmem, tcp_wmem); Documentation/networking/ip-sysctl.rst");
    const std::vector<std::string> three = absl::StrSplit(finding.found, ' ');
    const std::optional<int64_t> most = ParseInt(three.back());
    if (three.size() == 3 && most && *most < wanted && profile != Profile::kLaptop) {
      Say(&finding, Verdict::kAdvice, absl::StrCat("up to ", SizeText(wanted)));
      SetSysctl(&finding, name, absl::StrCat(three[0], " ", three[1], " ", wanted));
    }
    findings->push_back(std::move(finding));
  }
}

void AskedForBuffers(const Machine& machine, Profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "network.asked_for_buffers",
                                "buffers a program may ask for", "net.core.rmem_max");
  Because(
      &finding,
      "It bounds setsockopt(SO_RCVBUF, SO_SNDBUF). The broker asks for nothing and leaves sizes "
      "to the kernel; a client that asks is bound by it.",
      "socket(7) (rmem_max, wmem_max); Documentation/admin-guide/sysctl/net.rst");
  if (finding.verdict == Verdict::kFine) {
    finding.verdict = Verdict::kInfo;
    absl::StrAppend(&finding.found, " to receive, ",
                    machine.sysctl("net.core.wmem_max").value.value_or("unknown"), " to send");
  }
  findings->push_back(std::move(finding));
}

void IdleRestart(const Machine& machine, Profile profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "network.idle_restart", "slow start after idle",
                                "net.ipv4.tcp_slow_start_after_idle");
  Because(&finding,
          "A consumer's connection that was idle for a moment begins again with a small window, so "
          "the next burst takes more round trips.",
          "Documentation/networking/ip-sysctl.rst (tcp_slow_start_after_idle)");
  const bool eager = profile == Profile::kLatency || profile == Profile::kThroughput;
  if (finding.found == "1" && eager) {
    Say(&finding, Verdict::kAdvice, "off, in a network of one's own");
    SetSysctl(&finding, "net.ipv4.tcp_slow_start_after_idle", "0");
  }
  findings->push_back(std::move(finding));
}

// The broker's default ports: native 7092, Kafka 9092, each with one for every core behind it.
void Ports(const Machine& machine, Profile, Findings* findings) {
  Finding finding = AboutSysctl(machine, "network.ports", "ports of outgoing connections",
                                "net.ipv4.ip_local_port_range");
  Because(&finding,
          "A port from this range may be taken by any outgoing connection, and the broker then "
          "cannot listen on it.",
          "Documentation/networking/ip-sysctl.rst (ip_local_port_range, ip_local_reserved_ports)");
  const std::vector<std::string> ends = absl::StrSplit(finding.found, ' ');
  const std::optional<int64_t> first = ParseInt(ends.front());
  const std::optional<int64_t> last = ParseInt(ends.back());
  const int64_t last_of_ours = 9092 + CoreCount(machine);
  if (ends.size() == 2 && first && last && *first <= last_of_ours && *last >= 6092 &&
      machine.sysctl("net.ipv4.ip_local_reserved_ports").value.value_or("").empty()) {
    Say(&finding, Verdict::kAdvice, "keep the broker's default ports out of it");
    const std::string ports =
        absl::StrCat("6092,7092-", 7092 + CoreCount(machine), ",9092-", last_of_ours);
    // Not for --apply: what others have reserved would have to be kept.
    finding.now = {absl::StrCat("sysctl -w net.ipv4.ip_local_reserved_ports=", ports)};
    finding.lasting = {absl::StrCat("echo 'net.ipv4.ip_local_reserved_ports = ", ports,
                                    "' >> /etc/sysctl.d/90-ringtail.conf")};
  }
  findings->push_back(std::move(finding));
}

}  // namespace

std::vector<Rule> NetworkRules() {
  return {&Backlog, &SynBacklog, &Buffers, &AskedForBuffers, &IdleRestart, &Ports};
}

}  // namespace ringtail::tune
