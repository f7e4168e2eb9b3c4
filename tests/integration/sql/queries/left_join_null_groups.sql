-- Groups of what an outer join leaves NULL: the group of NULL shrinks as partners come.
CREATE TABLE left_join_null_groups (city VARCHAR, auctions BIGINT, sellers BIGINT, named BIGINT) WITH (${sink});

INSERT INTO left_join_null_groups
SELECT P.city, count(*), count(DISTINCT A.seller), count(P.name)
FROM auction A LEFT JOIN person P ON A.seller = P.id AND P.city <> 'Phoenix'
GROUP BY P.city;
