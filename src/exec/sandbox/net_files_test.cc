#include "exec/sandbox/net_files.h"

#include <gtest/gtest.h>

namespace kasane::exec {
namespace {

TEST(NetFiles, HostsNamesLocalhostAndTheStep) {
  EXPECT_EQ(make_hosts("buildkitsandbox", {"10.0.0.1 db"}),
            "127.0.0.1\tlocalhost buildkitsandbox\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
            "10.0.0.1 db\n");
}

TEST(NetFiles, StubResolverIsRecognisedOnlyWhenAlone) {
  EXPECT_TRUE(only_names_systemd_stub("# x\nnameserver 127.0.0.53\noptions edns0\n"));
  EXPECT_TRUE(only_names_systemd_stub(" nameserver\t127.0.0.53 # stub"));
  EXPECT_FALSE(only_names_systemd_stub("nameserver 127.0.0.53\nnameserver 1.1.1.1\n"));
  EXPECT_FALSE(only_names_systemd_stub("nameserver 127.0.0.1\n"));
  EXPECT_FALSE(only_names_systemd_stub("search example\n"));
  EXPECT_FALSE(only_names_systemd_stub(""));
}

}  // namespace
}  // namespace kasane::exec
