"""Every address of the test cluster comes from the one network that is set, of IPv4 or of IPv6."""

from __future__ import annotations

import ipaddress

import pytest

from tests.cluster import paths


@pytest.mark.parametrize("network", ["172.30.0.0/16", "10.7.0.0/16", "fd30:6d74:7000::/48"])
def test_all_addresses_are_of_the_network_and_none_of_two_ranges(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTP_OPERATOR_CLUSTER_NETWORK", network)
    whole, ends = paths.network(), (paths.node_address(), paths.host_address())
    link = ipaddress.ip_interface(f"{ends[0]}/{paths.link_prefix()}").network
    ranges = [link, paths.service_network(), paths.pod_network()]

    assert all(ipaddress.ip_address(one) in link for one in ends)
    assert all(one[0] in whole and one[-1] in whole for one in ranges)
    assert not any(one[0] in other for one in ranges for other in ranges if one is not other)


@pytest.mark.parametrize(
    "network", ["172.30.0.0/24", "8.8.0.0/16", "fd30::/64", "2606:4700:1::/48", "172.30.0.1/16", "x"]
)
def test_other_networks_are_refused_with_what_is_allowed(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTP_OPERATOR_CLUSTER_NETWORK", network)

    with pytest.raises(ValueError, match=r"^MTP_OPERATOR_CLUSTER_NETWORK: .* a private IPv6 /48 such as"):
        paths.network()


def test_an_ipv6_address_has_brackets_in_a_url() -> None:
    assert (paths.endpoint("10.0.0.1", 80), paths.endpoint("fd30::1", 80)) == ("10.0.0.1:80", "[fd30::1]:80")
