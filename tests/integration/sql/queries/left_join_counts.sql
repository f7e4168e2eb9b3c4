-- COUNT of a column does not count the NULLs of an outer join.
CREATE TABLE left_join_counts (id BIGINT, auctions BIGINT, least BIGINT) WITH (${sink});

INSERT INTO left_join_counts
SELECT P.id, count(A.id), min(A.initialBid)
FROM person P LEFT JOIN auction A ON P.id = A.seller
GROUP BY P.id;
