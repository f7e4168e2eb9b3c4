-- Values for rows that stand in the script, one of which has a key that nothing is equal to.
CREATE TABLE scalar_values (channel VARCHAR, n BIGINT, dearest BIGINT, least BIGINT) WITH (${sink});

INSERT INTO scalar_values
SELECT W.channel, (SELECT count(*) FROM bid B WHERE B.channel = W.channel),
    (SELECT coalesce(max(B.price), 0) + W.more FROM bid B WHERE B.channel = W.channel),
    (SELECT min(B.price) FROM bid B WHERE B.channel = W.channel AND B.price > 100000000)
FROM (VALUES ('Google', 1), ('nobody', 2), (NULL, 3), ('Apple', NULL)) AS W(channel, more);
