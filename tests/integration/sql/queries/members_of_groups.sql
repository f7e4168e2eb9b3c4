CREATE TABLE members_of_groups (id BIGINT, seller BIGINT) WITH (${sink});

INSERT INTO members_of_groups
SELECT id, seller FROM auction
WHERE seller IN (SELECT bidder FROM bid GROUP BY bidder HAVING count(*) > 5);
